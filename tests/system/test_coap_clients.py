"""
Other people's CoAP clients against a real process: libcoap's, aiocoap, node-coap, and OpenSSL's DTLS.
"""

import asyncio
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.kits.certificates import Authority, subject
from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE, Broker, Program

HERE = Path(__file__).parent
KEY = "0123456789abcdef"

libcoap = pytest.mark.skipif(shutil.which("coap-client-openssl") is None, reason="libcoap3-bin is not installed")


def coapClient(*words: str, program: str = "coap-client-openssl") -> str:
    """
    Run libcoap's client to its end; returns what it printed.
    """
    # "-B": when it gives up.
    command = [program, "-B", "20", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return ended.stdout + ended.stderr


@pytest.fixture
def coap(startBroker: StartBroker, tmp_path: Path) -> Broker:
    """
    A broker with the gateway, plain and with DTLS.
    """
    issued = Authority(tmp_path)
    server = issued.issue("server")
    issued.issue("client")
    keys = tmp_path / "psk.txt"
    keys.write_text(f"device1:{KEY.encode().hex()}\n")
    dtls = {
        "port": "127.0.0.1:0",
        "certfile": server.certfile,
        "keyfile": server.keyfile,
        "verify": "verify_peer",
        "cacertfile": issued.cafile,
        "fail_if_no_peer_cert": True,
    }
    return startBroker(
        {
            "plugins": {"load": ["psk_file", "coap"]},
            "psk": {"file": {"path": str(keys)}},
            "coap": {"port": "127.0.0.1:0", "dtls": dtls, "tcp": {"port": "127.0.0.1:0"}},
        },
        listeners=4,
    )


def plain(broker: Broker, path: str) -> str:
    """
    A URI of the plain port.
    """
    return f"coap://127.0.0.1:{broker.ports['coap']}{path}"


def secure(broker: Broker, path: str) -> str:
    """
    A URI of the port with DTLS.
    """
    return f"coaps://127.0.0.1:{broker.ports['coap.dtls']}{path}"


def stream(broker: Broker, path: str) -> str:
    """
    A URI of the TCP port.
    """
    return f"coap+tcp://127.0.0.1:{broker.ports['coap.tcp']}{path}"


def mosquitto(broker: Broker, *words: str) -> Program:
    """
    Mosquitto's subscriber, subscribed.
    """
    program = Program(["stdbuf", "-oL", "mosquitto_sub", "-d", "-p", str(broker.port), *words], Path.cwd())
    program.waitFor("Subscribed")
    return program


@libcoap
def test_libcoapPublishes(coap: Broker) -> None:
    """
    The command lines of the specification, 4.4, reach MQTT clients.
    """
    subscriber = mosquitto(coap, "-t", "hello", "-t", "topic1", "-C", "3", "-v")
    form = "qos=0&retain=0&message=payload&topic=hello"
    assert coapClient("-m", "put", "-e", form, plain(coap, "/mqtt")).strip() == ""
    assert coapClient("-m", "post", "-e", form, plain(coap, "/mqtt")).strip() == ""
    uri = plain(coap, "/mqtt/topic1?c=client1&u=tom&p=secret")
    assert coapClient("-m", "put", "-e", "1234", uri).strip() == ""
    assert subscriber.wait() == 0
    assert [line for line in subscriber.lines if line.startswith(("hello ", "topic1 "))] == [
        "hello payload",
        "hello payload",
        "topic1 1234",
    ]


@libcoap
@pytest.mark.parametrize("qos", ["0", "1"])
def test_libcoapObserves(coap: Broker, qos: str) -> None:
    """
    An observer gets what MQTT clients publish.
    """
    uri = plain(coap, "/mqtt/watched?c=client1")
    command = ["stdbuf", "-oL", "coap-client-openssl", "-v", "7", "-w", "-s", "20", "-m", "get", uri]
    observer = Program(command, Path.cwd())
    observer.waitFor(r"c:2\.05")
    for number in range(3):
        publish = ["mosquitto_pub", "-p", str(coap.port), "-t", "watched", "-q", qos, "-m", f"message {number}"]
        subprocess.run(publish, check=True, timeout=PATIENCE)
    observer.waitFor("^message 2$")
    observer.end()
    assert [line for line in observer.lines if line.startswith("message")] == ["message 0", "message 1", "message 2"]


WAYS = {
    "plain": [],
    "psk": ["-u", "device1", "-k", KEY],
    "certificate": ["-c", "{0}/client.pem", "-j", "{0}/client-key.pem", "-C", "{0}/ca.pem"],
}


@libcoap
@pytest.mark.parametrize("program", ["coap-client-openssl", "coap-client-gnutls"])
@pytest.mark.parametrize("way", WAYS)
def test_libcoapBlocks(coap: Broker, tmp_path: Path, program: str, way: str) -> None:
    """
    100 KB go up and down again block by block, plain, with a key, and with certificates on both sides.
    """
    body = bytes(range(256)) * 400
    (tmp_path / "body").write_bytes(body)
    words = [word.format(tmp_path) for word in WAYS[way]]
    uri = (plain if way == "plain" else secure)(coap, "/ps/big/one?c=client1")
    assert coapClient(*words, "-m", "put", "-f", str(tmp_path / "body"), uri, program=program).strip() == ""
    back = tmp_path / "back"
    coapClient(*words, "-m", "get", "-o", str(back), uri, program=program)
    assert back.read_bytes() == body
    got = subprocess.run(
        ["mosquitto_sub", "-p", str(coap.port), "-t", "big/one", "-C", "1", "-N"],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert got.stdout == body


@libcoap
def test_libcoapOverTCP(coap: Broker, tmp_path: Path) -> None:
    """
    Over TCP, 100 KB go up and down, and an observer gets what is published.
    """
    body = bytes(range(256)) * 400
    (tmp_path / "body").write_bytes(body)
    uri = stream(coap, "/ps/big/two?c=client1")
    assert coapClient("-m", "put", "-f", str(tmp_path / "body"), uri).strip() == ""
    back = tmp_path / "back"
    coapClient("-m", "get", "-o", str(back), uri)
    assert back.read_bytes() == body
    command = ["stdbuf", "-oL", "coap-client-openssl", "-v", "7", "-w", "-s", "20", "-m", "get"]
    observer = Program([*command, stream(coap, "/mqtt/watched?c=client2")], Path.cwd())
    observer.waitFor(r"c:2\.05")
    for number in range(3):
        publish = ["mosquitto_pub", "-p", str(coap.port), "-t", "watched", "-q", "1", "-m", f"message {number}"]
        subprocess.run(publish, check=True, timeout=PATIENCE)
    observer.waitFor("^message 2$")
    observer.end()
    assert [line for line in observer.lines if line.startswith("message")] == ["message 0", "message 1", "message 2"]


@libcoap
def test_libcoapLoses(coap: Broker) -> None:
    """
    With datagrams lost, a request arrives all the same, and once.
    """
    subscriber = mosquitto(coap, "-t", "lossy", "-t", "end", "-v")
    uri = plain(coap, "/mqtt/lossy?c=client1")
    assert coapClient("-l", "1", "-m", "put", "-e", "once", uri).strip() == ""
    coapClient("-m", "put", "-e", "end", plain(coap, "/mqtt/end?c=client1"))
    subscriber.waitFor("^end end$")
    subscriber.end()
    assert subscriber.lines.count("lossy once") == 1


def sClient(broker: Broker, *words: str) -> str:
    """
    Make a handshake with C{openssl s_client}; returns what it says of it.
    """
    address = f"127.0.0.1:{broker.ports['coap.dtls']}"
    program = Program(["openssl", "s_client", "-dtls1_2", "-connect", address, *words], Path.cwd())
    try:
        program.waitFor("Cipher is|alert|:error:", patience=10)
    except AssertionError:
        pass
    program.end()
    return program.text


@pytest.mark.parametrize("cipher", ["PSK-AES128-CCM8", "PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA256"])
def test_opensslWithKey(coap: Broker, cipher: str) -> None:
    """
    Suites that devices have are spoken, the one with the short tag among them.
    """
    words = ["-psk_identity", "device1", "-psk", KEY.encode().hex(), "-cipher", cipher + ":@SECLEVEL=0"]
    assert f"Cipher is {cipher}" in sClient(coap, *words)


@libcoap
@pytest.mark.parametrize(("identity", "key"), [("device1", "wrong"), ("nobody", KEY)])
def test_wrongKey(coap: Broker, identity: str, key: str) -> None:
    """
    A wrong key, and a name that nobody has, get no answer; others do all the same.
    """
    uri = secure(coap, "/.well-known/core")
    assert "</ps>" not in coapClient("-B", "3", "-u", identity, "-k", key, "-m", "get", uri)
    assert "</ps>" in coapClient("-u", "device1", "-k", KEY, "-m", "get", uri)


@libcoap
def test_certificateReplaced(coap: Broker, tmp_path: Path) -> None:
    """
    SIGHUP puts a new certificate to use; who has an association keeps it. A broken one is told, and not used.
    """
    words = ["-cert", str(tmp_path / "client.pem"), "-key", str(tmp_path / "client-key.pem"), "-cipher", "ECDHE"]
    assert "CN = server" in sClient(coap, *words)
    uri = secure(coap, "/mqtt/watched?c=client1")
    observe = ["stdbuf", "-oL", "coap-client-openssl", "-v", "7", "-w", "-s", "20", *WAYS["psk"], "-m", "get", uri]
    observer = Program(observe, Path.cwd())
    observer.waitFor(r"c:2\.05")
    Authority(tmp_path).issue("server", subject("replaced"))
    coap.process.send_signal(signal.SIGHUP)
    coap.waitFor(r"reload: coap\.dtls: certificates read again")
    assert "CN = replaced" in sClient(coap, *words)
    (tmp_path / "server.pem").write_text("text")
    coap.process.send_signal(signal.SIGHUP)
    coap.waitFor(r"coap\.dtls\.certfile = .* does not hold a certificate in PEM form")
    assert "CN = replaced" in sClient(coap, *words)
    publish = ["mosquitto_pub", "-p", str(coap.port), "-t", "watched", "-m", "still"]
    subprocess.run(publish, check=True, timeout=PATIENCE)
    observer.waitFor("^still$")
    observer.end()


@libcoap
def test_foundByMulticast(startBroker: StartBroker) -> None:
    """
    A client that looks for CoAP servers by multicast finds this one; nothing else is served so.
    """
    table = {"port": "127.0.0.1:0", "multicast": True, "multicast_leisure": "100ms"}
    broker = startBroker({"plugins": {"load": ["coap"]}, "coap": table}, listeners=2)
    broker.waitFor("coap.multicast: 224.0.1.187 is heard")
    group = f"coap://224.0.1.187:{broker.ports['coap']}"
    subscriber = mosquitto(broker, "-t", "#", "-v")
    words = ["-N", "-B", "1", "-a", "127.0.0.1"]
    assert "</ps>;" in coapClient(*words, "-m", "get", f"{group}/.well-known/core")
    assert coapClient(*words, "-m", "put", "-e", "x", f"{group}/mqtt/a?c=me").strip() == ""
    assert coapClient("-m", "put", "-e", "end", plain(broker, "/mqtt/a?c=me")).strip() == ""
    subscriber.waitFor("^a end$")
    subscriber.end()
    assert "a x" not in subscriber.lines


def test_opensslWithoutCertificate(coap: Broker) -> None:
    """
    Where clients must have a certificate, one without does not get in.
    """
    assert "alert" in sClient(coap, "-cipher", "ECDHE+AESGCM")


def test_aiocoap(coap: Broker) -> None:
    """
    aiocoap publishes, reads blocks, finds links, and observes.
    """
    aiocoap = pytest.importorskip("aiocoap")
    body = bytes(range(256)) * 20

    async def work() -> None:
        context = await aiocoap.Context.create_client_context()
        try:

            async def ask(code: object, path: str, **keys: object) -> object:
                message = aiocoap.Message(code=code, uri=plain(coap, path), **keys)
                return await asyncio.wait_for(context.request(message).response, PATIENCE)

            put = await ask(aiocoap.PUT, "/ps/aio?c=aio", payload=body)
            assert put.code == aiocoap.CREATED  # type: ignore[attr-defined]  # aiocoap comes without types
            got = await ask(aiocoap.GET, "/ps/aio?c=aio")
            assert got.payload == body  # type: ignore[attr-defined]  # likewise
            links = await ask(aiocoap.GET, "/.well-known/core?rt=core.ps")
            assert links.payload.startswith(b"</ps>")  # type: ignore[attr-defined]  # likewise
            request = context.request(aiocoap.Message(code=aiocoap.GET, uri=plain(coap, "/mqtt/seen?c=aio"), observe=0))
            await asyncio.wait_for(request.response, PATIENCE)
            await ask(aiocoap.PUT, "/mqtt/seen?c=aio", payload=b"me")
            async for notification in request.observation:
                assert notification.payload == b"me"
                break
            request.observation.cancel()
        finally:
            await context.shutdown()

    asyncio.run(work())


def test_aiocoapOverTCP(coap: Broker) -> None:
    """
    aiocoap publishes, reads and observes over TCP.
    """
    aiocoap = pytest.importorskip("aiocoap")
    from aiocoap.transports.tcp import TCPClient  # noqa: F401 - the transport that its name asks for

    body = bytes(range(256)) * 20

    async def work() -> None:
        context = await aiocoap.Context.create_client_context(transports=["tcpclient"])
        try:

            async def ask(code: object, path: str, **keys: object) -> object:
                message = aiocoap.Message(code=code, uri=stream(coap, path), **keys)
                return await asyncio.wait_for(context.request(message).response, PATIENCE)

            put = await ask(aiocoap.PUT, "/ps/aiotcp?c=aio", payload=body)
            assert put.code == aiocoap.CREATED  # type: ignore[attr-defined]  # aiocoap comes without types
            got = await ask(aiocoap.GET, "/ps/aiotcp?c=aio")
            assert got.payload == body  # type: ignore[attr-defined]  # likewise
            message = aiocoap.Message(code=aiocoap.GET, uri=stream(coap, "/mqtt/seen?c=aio"), observe=0)
            request = context.request(message)
            await asyncio.wait_for(request.response, PATIENCE)
            await ask(aiocoap.PUT, "/mqtt/seen?c=aio", payload=b"me")
            async for notification in request.observation:
                assert notification.payload == b"me"
                break
            request.observation.cancel()
        finally:
            await context.shutdown()

    asyncio.run(work())


def test_nodeCoap(coap: Broker) -> None:
    """
    node-coap observes what it publishes itself.
    """
    if shutil.which("node") is None or not (HERE.parent / "node_modules" / "coap").exists():
        pytest.skip("node-coap is not installed")
    program = Program(
        ["node", HERE / "coap_peer.js", str(coap.ports["coap"]), "node"],
        HERE,
        {"NODE_PATH": str(HERE.parent / "node_modules")},
    )
    assert program.wait() == 0, program.text
    assert {"put 2.04", "observing 2.05", "seen 8 fromnode"} <= set(program.lines)
