"""
Behind HAProxy, as Debian ships it: the broker sees the clients, not the balancer.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kits.certificates import Authority, Issued
from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE, Broker, Program
from tests.system.test_tls import watching

_PATH = os.environ["PATH"] + ":/usr/sbin"

pytestmark = [
    pytest.mark.skipif(shutil.which("haproxy", path=_PATH) is None, reason="needs Debian's haproxy"),
    pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="needs Debian's mosquitto-clients"),
]

# So that a client can be told from the balancer, which connects from 127.0.0.1.
CLIENT = "127.0.0.5"

# Starts HAProxy between its clients and a listener: options of its "server" line, and of its "bind" line.
StartBalancer = Callable[..., int]


@pytest.fixture
def startBalancer(tmp_path: Path) -> Iterator[StartBalancer]:
    """
    Start balancers, on ports that the kernel picks.
    """
    started: list[tuple[Program, socket.socket]] = []

    def start(port: int, server: str, bind: str = "") -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        file = tmp_path / f"haproxy{len(started)}.cfg"
        file.write_text(
            "global\n  maxconn 100\n  log stdout format raw local0\n"
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n"
            f"listen mqtt\n  bind fd@{listening.fileno()} {bind}\n  server broker 127.0.0.1:{port} {server}\n"
        )
        haproxy = shutil.which("haproxy", path=_PATH)
        assert haproxy is not None
        program = Program([haproxy, "-db", "-f", file], tmp_path, descriptors=[listening.fileno()])
        started.append((program, listening))
        number: int = listening.getsockname()[1]
        return number

    yield start
    for program, listening in started:
        program.end()
        listening.close()


def configuration(kind: str = "tcp", **keys: object) -> dict[str, object]:
    """
    A plain listener for who watches, and one behind a balancer whose topics begin with address and user name.
    """
    proxied = {"bind": "127.0.0.1:0", "zone": "devices", "proxy_protocol": True, **keys}
    listeners: dict[str, dict[str, object]] = {"tcp": {"external": {"bind": "127.0.0.1:0"}}}
    listeners.setdefault(kind, {})["proxied"] = proxied
    return {"listener": listeners, "zone": {"devices": {"mountpoint": "%a/%u/"}}}


def publish(port: int, *options: str) -> subprocess.CompletedProcess[str]:
    """
    Run C{mosquitto_pub} from the client's address.
    """
    command = ["mosquitto_pub", "-A", CLIENT, "-h", "127.0.0.1", "-p", str(port), "-u", "joe", "-q", "1"]
    return subprocess.run(
        [*command, "-t", "a", "-m", "hello", *options], capture_output=True, text=True, timeout=PATIENCE
    )


def port(broker: Broker, kind: str = "tcp") -> int:
    """
    Where the broker expects balancers.
    """
    return broker.ports[f"listener.{kind}.proxied"]


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"])
def test_address(startBroker: StartBroker, startBalancer: StartBalancer, tmp_path: Path, version: str) -> None:
    """
    Both versions of the header carry the client's address.
    """
    broker = startBroker(configuration(), listeners=2)
    balancer = startBalancer(port(broker), version)
    with watching(broker, tmp_path) as watcher:
        done = publish(balancer)
        assert done.returncode == 0, done.stderr
        watcher.waitFor(f"^{CLIENT}/joe/a hello$")


def test_healthChecks(startBroker: StartBroker, startBalancer: StartBalancer, tmp_path: Path) -> None:
    """
    The balancer's own connections do no harm, and clients come in between them.
    """
    broker = startBroker(configuration(), listeners=2)
    balancer = startBalancer(port(broker), "send-proxy-v2 check inter 100ms rise 1")
    with watching(broker, tmp_path) as watcher:
        for count in range(1, 4):
            done = publish(balancer)
            assert done.returncode == 0, done.stderr
            watcher.waitFor(f"^{CLIENT}/joe/a hello$", count)
    assert "refused" not in broker.text


def _terminating(folder: Path, authority: Authority, server: Issued) -> str:
    """
    The files that HAProxy needs to speak TLS with the clients.
    """
    both = folder / "both.pem"
    both.write_bytes(Path(server.certfile).read_bytes() + Path(server.keyfile).read_bytes())
    return f"ssl crt {both} ca-file {authority.cafile} verify optional"


def test_commonName(startBroker: StartBroker, startBalancer: StartBalancer, tmp_path: Path) -> None:
    """
    Where HAProxy speaks TLS, the name in the client's certificate, which it has verified, is the user name.
    """
    authority = Authority(tmp_path)
    bind = _terminating(tmp_path, authority, authority.issue("server"))
    device = authority.issue("device1")
    broker = startBroker(configuration(peer_cert_as_username="cn"), listeners=2)
    balancer = startBalancer(port(broker), "send-proxy-v2-ssl-cn", bind)
    with watching(broker, tmp_path) as watcher:
        trust = ["--cafile", authority.cafile]
        done = publish(balancer, *trust, "--cert", device.certfile, "--key", device.keyfile)
        assert done.returncode == 0, done.stderr
        watcher.waitFor(f"^{CLIENT}/device1/a hello$")
        done = publish(balancer, *trust)
        assert done.returncode == 0, done.stderr
        watcher.waitFor(f"^{CLIENT}/joe/a hello$")


def test_beforeTLS(startBroker: StartBroker, startBalancer: StartBalancer, tmp_path: Path) -> None:
    """
    Where HAProxy passes TLS on, the header comes before the handshake, and the certificate is the client's own.
    """
    authority = Authority(tmp_path)
    server, device = authority.issue("server"), authority.issue("device1")
    keys = {
        "certfile": server.certfile,
        "keyfile": server.keyfile,
        "cacertfile": authority.cafile,
        "verify": "verify_peer",
        "peer_cert_as_username": "cn",
    }
    broker = startBroker(configuration("ssl", **keys), listeners=2)
    balancer = startBalancer(port(broker, "ssl"), "send-proxy-v2")
    with watching(broker, tmp_path) as watcher:
        options = ["--cafile", authority.cafile, "--cert", device.certfile, "--key", device.keyfile]
        done = publish(balancer, *options)
        assert done.returncode == 0, done.stderr
        watcher.waitFor(f"^{CLIENT}/device1/a hello$")


def test_withoutHeader(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    A client that does not come through the balancer is closed, and the log says so.
    """
    broker = startBroker(configuration(), listeners=2)
    assert publish(port(broker)).returncode != 0
    broker.waitFor(f"listener.tcp.proxied: connection from {CLIENT}:.* refused: no PROXY header came")


def test_silent(startBroker: StartBroker) -> None:
    """
    A silent client is closed after the time-out.
    """
    broker = startBroker(configuration(proxy_protocol_timeout="1s"), listeners=2)
    with socket.create_connection(("127.0.0.1", port(broker)), PATIENCE) as client:
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            # It may as well be told so.
            pass
    broker.waitFor("listener.tcp.proxied: connection from 127.0.0.1:.* refused: the header has not come in time")
