"""
The broker from another machine's point of view: on an address other than loopback, with nothing but what the documents
say.
"""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.kits.certificates import Authority
from tests.system.conftest import StartBroker, configuration
from tests.system.paho_peer import Peer
from tests.system.process import PATIENCE, ROOT, Broker, fromTree, toml, twistdCommand

ANYWHERE = {"listener": {"tcp": {"external": {"bind": "0.0.0.0:0"}}}}


@pytest.fixture
def ownAddress() -> str:
    """
    An address of this machine that is not loopback.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("203.0.113.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address: str = asking.getsockname()[0]
    return address


def publish(host: str, port: int, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """
    Run C{mosquitto_pub} to its end.
    """
    program = shutil.which("mosquitto_pub")
    if program is None:
        pytest.skip("mosquitto_pub is not installed")
    return subprocess.run(
        [program, "-h", host, "-p", str(port), "-t", "hello", "-m", "world", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def start(folder: Path, tables: dict[str, object], listeners: int = 1) -> Broker:
    """
    Start a broker that says nothing about C{allow_anonymous} but what is in the tables.
    """
    usual = configuration(folder)
    del usual["allow_anonymous"]
    file = folder / "b.toml"
    file.write_text(toml({**usual, **tables}))
    return Broker([*twistdCommand(), "mqttbroker", "--config", file], folder, fromTree()).started(listeners)


def test_nobodyComesIn(tmp_path: Path, ownAddress: str) -> None:
    """
    Where nobody can come in, a warning at the start says so and names the remedy, and each refusal says why.
    """
    gateways = {"plugins": {"load": ["stomp"]}, "stomp": {"listener": "0.0.0.0:0"}}
    broker = start(tmp_path, {**ANYWHERE, **gateways}, 2)
    broker.waitFor(r"#warn\] listener\.tcp\.external at 0\.0\.0\.0:\d+ lets nobody in: .*allow_anonymous = true")
    broker.waitFor(r"#warn\] stomp at 0\.0\.0\.0:\d+ lets nobody in: .*allow_anonymous = true")
    assert publish(ownAddress, broker.port, "-i", "dev", "-u", "bob", "-P", "x").returncode != 0
    broker.waitFor(
        rf'refused: "dev" \(user "bob"\) from {re.escape(ownAddress)}:\d+ on tcp\.external: not authorized \(0x87\): '
        "nobody knows its name and password"
    )
    broker.stop()


@pytest.mark.parametrize(
    "remedy",
    [{"allow_anonymous": True}, {"zone": {"external": {"allow_anonymous": True}}}],
    ids=["for all", "for a zone"],
)
def test_remedy(tmp_path: Path, ownAddress: str, remedy: dict[str, object]) -> None:
    """
    The remedy that the warning names lets clients in, and there is no warning any more; nor is there one on loopback.
    """
    broker = start(tmp_path, {**ANYWHERE, **remedy})
    assert publish(ownAddress, broker.port).returncode == 0
    broker.stop()
    assert "lets nobody in" not in broker.text


def test_certificate(tmp_path: Path, ownAddress: str) -> None:
    """
    A client whose certificate is trusted comes in without a password, from anywhere; its name counts in access rules.
    """
    authority = Authority(tmp_path)
    issued, client = authority.issue("broker", hosts=(ownAddress,)), authority.issue("dashboard")
    listener = {
        "bind": "0.0.0.0:0",
        "verify": "verify_peer",
        "peer_cert_as_username": "cn",
        "certfile": issued.certfile,
        "keyfile": issued.keyfile,
        "cacertfile": authority.cafile,
    }
    broker = start(tmp_path, {"listener": {"ssl": {"external": listener}}})
    port = broker.ports["listener.ssl.external"]
    known = ("--cafile", authority.cafile)
    shown = publish(ownAddress, port, *known, "--cert", client.certfile, "--key", client.keyfile)
    assert shown.returncode == 0, shown.stderr
    assert publish(ownAddress, port, *known).returncode != 0
    broker.waitFor(r'connected: ".*" \(user "dashboard"\) from')
    broker.waitFor(r"refused: .*nobody knows its name and password")
    broker.stop()
    assert "lets nobody in" not in broker.text


def test_preSharedKeys(tmp_path: Path, ownAddress: str) -> None:
    """
    The example of docs/tls.md works as it is printed.
    """
    section = (ROOT / "docs" / "tls.md").read_text().partition("## Pre-shared keys\n")[2]
    [example] = re.findall(r"```toml\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    [words] = re.findall(r"^ *mosquitto_pub (.*)$", section.partition("\n## ")[0], re.MULTILINE)
    options = dict(re.findall(r"(--psk(?:-identity)?) (\S+)", words))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "psk.txt").write_text(f"{options['--psk-identity']}:{options['--psk']}\n")
    file = tmp_path / "mqttbroker.toml"
    file.write_text(example)
    environment = {
        **fromTree(),
        "MQTTBROKER__LISTENER__SSL__EXTERNAL__BIND": "0.0.0.0:0",
        "MQTTBROKER__NODE__DATA_DIR": str(tmp_path / "data"),
    }
    broker = Broker([*twistdCommand(), "mqttbroker", "--config", file], tmp_path, environment).started(1)
    port = broker.ports["listener.ssl.external"]
    for host in ("127.0.0.1", ownAddress):
        done = publish(host, port, *[word for pair in options.items() for word in pair])
        assert done.returncode == 0, done.stderr
    broker.stop()


def test_shippedRules(startBroker: StartBroker, name: str) -> None:
    """
    With etc/acl.conf, clients on this machine read C{$SYS} over IPv6, too; whoever merely calls himself C{dashboard}
    does not read it from elsewhere.
    """
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("this machine has no IPv6")
    tables = {
        "acl_file": str(ROOT / "etc" / "acl.conf"),
        "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}, "six": {"bind": "[::1]:0"}}},
    }
    broker = startBroker(tables, 2)
    port = int(broker.waitFor(r"listening: mqtt:tcp on \S*::1\S*:(\d+) ")[0][1])
    here = subprocess.run(
        ["mosquitto_sub", "-h", "::1", "-p", str(port), "-t", "$SYS/brokers/+/version", "-C", "1", "-W", "10"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert here.returncode == 0 and here.stdout.strip(), here.stderr


def test_nameIsNoProof(tmp_path: Path, ownAddress: str, name: str) -> None:
    """
    A rule about a user does not hold for whoever merely uses the name.
    """
    tables = {**ANYWHERE, "allow_anonymous": True, "acl_file": str(ROOT / "etc" / "acl.conf")}
    broker = start(tmp_path, tables)
    done = subprocess.run(
        [
            *("mosquitto_sub", "-h", ownAddress, "-p", str(broker.port), "-u", "dashboard", "-V", "5"),
            *("-t", "$SYS/brokers/+/version", "-C", "1", "-W", "5"),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert not done.stdout.strip(), done.stdout
    with Peer(broker, name) as peer:
        peer.publish("a", "b", 1)
    broker.stop()
