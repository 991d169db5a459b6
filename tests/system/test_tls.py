"""
MQTT over TLS between a real broker and other people's clients: certificates, pre-shared keys, reloading.
"""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from tests.kits.certificates import Authority, Issued, subject
from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE, Broker, Program, fromTree, toml, twistdCommand

needsMosquitto = pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="needs Debian's mosquitto-clients")
BOTH_VERSIONS = pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])

KEY = "00112233445566778899aabbccddeeff"
CONNECT = bytes.fromhex("101000044d5154540402003c000474657374")
CONNACK = bytes.fromhex("20020000")


class Secured:
    """
    A broker with a plain listener for who watches, and a listener with TLS whose topics begin with the user name.
    """

    def __init__(self, start: StartBroker, folder: Path, **keys: object) -> None:
        self.authority = Authority(folder)
        self.server = self.authority.issue("server")
        self.folder = folder
        self._start = start
        self._keys = keys

    def started(self, **keys: object) -> Broker:
        """
        Start it.

        @param keys: further keys of the listener with TLS.
        """
        secure = {
            "bind": "127.0.0.1:0",
            "zone": "devices",
            "certfile": self.server.certfile,
            "keyfile": self.server.keyfile,
            **keys,
        }
        tables = {
            "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}, "ssl": {"external": secure}},
            "zone": {"devices": {"mountpoint": "%u/"}},
        }
        if "psk_ciphers" in keys:
            (self.folder / "psk.txt").write_text(f"device1:{KEY}\n")
            tables |= {
                "plugins": {"load": ["psk_file"]},
                "psk": {"file": {"path": str(self.folder / "psk.txt")}},
            }
        return self._start(tables, listeners=2)

    def verifying(self, **keys: object) -> Broker:
        """
        Start it so that it wants a certificate of its clients.
        """
        wanted = {"verify": "verify_peer", "fail_if_no_peer_cert": True, "cacertfile": self.authority.cafile}
        return self.started(**{**wanted, **keys})

    def context(self, device: Issued | None = None) -> ssl.SSLContext:
        """
        The files of a client.
        """
        context = ssl.create_default_context(cafile=self.authority.cafile)
        if device is not None:
            context.load_cert_chain(device.certfile, device.keyfile)
        return context


@pytest.fixture
def secured(startBroker: StartBroker, tmp_path: Path) -> Secured:
    """
    A broker with TLS that is not started yet.
    """
    return Secured(startBroker, tmp_path)


def securePort(broker: Broker) -> int:
    """
    Where TLS is spoken.
    """
    return broker.ports["listener.ssl.external"]


@contextlib.contextmanager
def watching(broker: Broker, folder: Path) -> Iterator[Program]:
    """
    Somebody on the plain listener who sees all topics.
    """
    command = ["stdbuf", "-oL", "mosquitto_sub", "-d", "-h", broker.host, "-p", str(broker.port), "-t", "#", "-v"]
    program = Program(command, folder)
    try:
        program.waitFor("received SUBACK")
        yield program
    finally:
        program.end()


def publish(broker: Broker, *options: str) -> subprocess.CompletedProcess[str]:
    """
    Run C{mosquitto_pub} against the listener with TLS.
    """
    command = ["mosquitto_pub", "-h", broker.host, "-p", str(securePort(broker)), "-q", "1", "-t", "a", "-m", "hello"]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=PATIENCE)


def certificateOptions(device: Issued) -> list[str]:
    """
    The options that show a certificate.
    """
    return ["--cert", device.certfile, "--key", device.keyfile]


@needsMosquitto
@BOTH_VERSIONS
def test_serverCertificate(secured: Secured, tmp_path: Path, version: str) -> None:
    """
    C{mosquitto_pub} and C{mosquitto_sub} speak TLS; what a client calls itself is its user name.
    """
    broker = secured.started()
    with watching(broker, tmp_path) as watcher:
        done = publish(broker, "--cafile", secured.authority.cafile, "--tls-version", version, "-u", "joe")
        assert done.returncode == 0, done.stderr
        watcher.waitFor("^joe/a hello$")


@needsMosquitto
def test_notTrusted(secured: Secured, tmp_path: Path) -> None:
    """
    A client that trusts somebody else goes away, and the log says what it said.
    """
    broker = secured.started()
    other = Authority(tmp_path, "other")
    assert publish(broker, "--cafile", other.cafile).returncode != 0
    broker.waitFor("TLS handshake with 127.0.0.1:.* failed: .*unknown ca")


@needsMosquitto
@BOTH_VERSIONS
@pytest.mark.parametrize("part, name", [("cn", "device1"), ("dn", "C=CH,O=Example,CN=device1")], ids=["cn", "dn"])
def test_clientCertificate(secured: Secured, tmp_path: Path, version: str, part: str, name: str) -> None:
    """
    The certificate of a client is its user name, whatever it calls itself.
    """
    device = secured.authority.issue("device1", subject("device1", "Example"))
    broker = secured.verifying(peer_cert_as_username=part)
    with watching(broker, tmp_path) as watcher:
        trust = ["--cafile", secured.authority.cafile, "--tls-version", version, "-u", "joe"]
        done = publish(broker, *trust, *certificateOptions(device))
        assert done.returncode == 0, done.stderr
        watcher.waitFor(f"^{name}/a hello$")


@needsMosquitto
@BOTH_VERSIONS
@pytest.mark.parametrize(
    "wrong, reason",
    [
        ("none", "peer did not return a certificate"),
        ("expired", "certificate has expired"),
        ("stranger", "unable to get local issuer certificate"),
        ("revoked", "certificate revoked"),
    ],
)
def test_wrongCertificate(secured: Secured, tmp_path: Path, version: str, wrong: str, reason: str) -> None:
    """
    Without a good certificate nobody comes in, and the log says why; others do.
    """
    authority = secured.authority
    good, revoked = authority.issue("good"), authority.issue("revoked")
    options = {
        "none": [],
        "expired": certificateOptions(authority.issue("expired", end=timedelta(hours=-1))),
        "stranger": certificateOptions(Authority(tmp_path, "other").issue("stranger")),
        "revoked": certificateOptions(revoked),
    }[wrong]
    broker = secured.verifying(crlfile=authority.revoke(revoked))
    trust = ["--cafile", authority.cafile, "--tls-version", version]
    assert publish(broker, *trust, *options).returncode != 0
    broker.waitFor(f"TLS handshake with 127.0.0.1:.* failed: .*{reason}")
    assert publish(broker, *trust, *certificateOptions(good)).returncode == 0


@needsMosquitto
@BOTH_VERSIONS
def test_preSharedKey(secured: Secured, tmp_path: Path, version: str) -> None:
    """
    C{mosquitto_pub --psk} comes in with its key, and with no other key or identity.
    """
    broker = secured.started(psk_ciphers=["PSK-AES128-CBC-SHA", "PSK-AES256-CBC-SHA"])
    wanted = ["--tls-version", version, "-u", "joe"]
    with watching(broker, tmp_path) as watcher:
        assert publish(broker, *wanted, "--psk", KEY, "--psk-identity", "device1").returncode == 0
        watcher.waitFor("^joe/a hello$")
        assert publish(broker, *wanted, "--psk", KEY[::-1], "--psk-identity", "device1").returncode != 0
        assert publish(broker, *wanted, "--psk", KEY, "--psk-identity", "device2").returncode != 0
        assert len([line for line in watcher.lines if line == "joe/a hello"]) == 1
    broker.waitFor("TLS handshake with 127.0.0.1:.* failed")


def test_paho(secured: Secured) -> None:
    """
    Paho speaks over TLS with a certificate of its own: large messages at every QoS, there and back.
    """
    broker = secured.verifying(peer_cert_as_username="cn")
    got: list[tuple[int, bytes]] = []
    all_ = threading.Event()
    subscribed = threading.Event()

    def received(client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        got.append((message.qos, message.payload))
        if len(got) == 3:
            all_.set()

    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "paho-tls", protocol=paho.MQTTv5)
    client.tls_set_context(secured.context(secured.authority.issue("paho")))
    client.on_message = received
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("localhost", securePort(broker))
    client.loop_start()
    try:
        client.subscribe("big", qos=2)
        assert subscribed.wait(PATIENCE)
        payload = bytes(range(256)) * 2000
        for qos in (0, 1, 2):
            client.publish("big", payload, qos=qos)
        assert all_.wait(PATIENCE)
    finally:
        client.disconnect()
        client.loop_stop()
    assert sorted(got) == [(qos, payload) for qos in (0, 1, 2)]


def handshake(broker: Broker, context: ssl.SSLContext) -> ssl.SSLSocket:
    """
    A connection that has shaken hands.
    """
    plain = socket.create_connection((broker.host, securePort(broker)), PATIENCE)
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


def read(opened: ssl.SSLSocket, size: int) -> bytes:
    """
    So many bytes, or fewer at the end.
    """
    data = b""
    while len(data) < size and (more := opened.recv(size - len(data))):
        data += more
    return data


def test_certificateReplaced(secured: Secured) -> None:
    """
    A new certificate is shown a few seconds after it was written; the connections that are open stay.
    """
    broker = secured.started()
    with handshake(broker, secured.context()) as first:
        first.sendall(CONNECT)
        assert read(first, 4) == CONNACK
        new = secured.authority.issue("server")
        broker.waitFor("certificates read again")
        with handshake(broker, secured.context()) as second:
            assert second.getpeercert(binary_form=True) == new.encoded
        first.sendall(b"\xc0\x00")
        assert read(first, 2) == b"\xd0\x00"


def test_certificateBroken(secured: Secured) -> None:
    """
    A file that can't be used is logged, and the old certificate is used on.
    """
    broker = secured.started()
    old = secured.server.encoded
    Path(secured.server.keyfile).write_text("half a ke")
    broker.waitFor("listener.ssl.external.keyfile = .* does not hold a private key in PEM form")
    with handshake(broker, secured.context()) as opened:
        assert opened.getpeercert(binary_form=True) == old


def test_keyOfAnother(tmp_path: Path) -> None:
    """
    With files that don't fit, the broker does not start, and says which.
    """
    authority = Authority(tmp_path)
    server, other = authority.issue("server"), authority.issue("other")
    secure = {"bind": "127.0.0.1:0", "certfile": server.certfile, "keyfile": other.keyfile}
    file = tmp_path / "mqttbroker.toml"
    file.write_text(toml({"listener": {"ssl": {"external": secure}}, "node": {"data_dir": str(tmp_path / "data")}}))
    program = Program([*twistdCommand(), "mqttbroker", "--config", file], tmp_path, fromTree())
    assert program.wait() == 1, program.text
    assert "listener.ssl.external.keyfile" in program.text
    assert f"does not belong to the certificate in {server.certfile}" in program.text


def _memory(broker: Broker) -> int:
    """
    The memory of a broker, in bytes.
    """
    status = Path(f"/proc/{broker.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_slowReader(secured: Secured) -> None:
    """
    Behind a subscriber over TLS that does not read, nothing piles up, and others are served.
    """
    broker = secured.started()
    with handshake(broker, secured.context()) as slow:
        slow.sendall(CONNECT + bytes.fromhex("8206000100012300"))
        assert read(slow, 9) == CONNACK + bytes.fromhex("9003000100")
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "flood")
        client.tls_set_context(secured.context())
        client.connect("localhost", securePort(broker))
        client.loop_start()
        try:
            before = _memory(broker)
            payload = bytes(10000)
            for _ in range(20):
                for _ in range(300):
                    client.publish("flood", payload)
                # Answered in order: by then the broker has taken what was sent before.
                client.publish("flood", b"", qos=1).wait_for_publish(PATIENCE)
            assert _memory(broker) - before < 25_000_000
        finally:
            client.disconnect()
            client.loop_stop()
