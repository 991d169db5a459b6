"""
STOMP from a page in a browser: @stomp/stompjs and sockjs-client, as their makers ship them, in headless Chromium.

The page comes from a server of the test's own, so that to the browser the gateway is another origin. One browser and
one broker serve all tests.
"""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.kits.certificates import Authority
from tests.system.conftest import configuration
from tests.system.paho_peer import V5, Peer, propertiesOf
from tests.system.process import PATIENCE, Broker, startTwistd

webdriver = pytest.importorskip("selenium.webdriver")

_FOLDER = Path(__file__).parent / "browser"
_MODULES = Path(__file__).parents[1] / "node_modules"
_CHROMIUM, _DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")

# The files of the server, by path.
_FILES = {
    "/": (_FOLDER / "page.html", "text/html; charset=utf-8"),
    "/page.js": (_FOLDER / "page.js", "text/javascript; charset=utf-8"),
    "/stomp.js": (_MODULES / "@stomp/stompjs/bundles/stomp.umd.min.js", "text/javascript; charset=utf-8"),
    "/sockjs.js": (_MODULES / "sockjs-client/dist/sockjs.min.js", "text/javascript; charset=utf-8"),
    "/mqtt.js": (_MODULES / "mqtt/dist/mqtt.min.js", "text/javascript; charset=utf-8"),
}

pytestmark = [
    pytest.mark.skipif(not (_CHROMIUM.exists() and _DRIVER.exists()), reason="needs chromium and chromium-driver"),
    pytest.mark.skipif(not _FILES["/stomp.js"][0].exists(), reason="needs npm install in tests/"),
]

# The transports that a page may use. The iframe is for pages whose browser forbids them to ask elsewhere.
SOCKJS = ["websocket", "xhr-streaming", "xhr-polling", "eventsource", "iframe-eventsource", "iframe-xhr-polling"]
EVERY_TRANSPORT = pytest.mark.parametrize("transport", ["ws", *SOCKJS])


class _Files(http.server.BaseHTTPRequestHandler):
    """
    Serves the page and its scripts.
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """
        Answer.
        """
        found = _FILES.get(self.path)
        data = b"" if found is None else found[0].read_bytes()
        self.send_response(404 if found is None else 200)
        if found is not None:
            self.send_header("Content-Type", found[1])
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """
        Say nothing.
        """


@pytest.fixture(scope="module")
def pagePort() -> Iterator[int]:
    """
    The port of the server that has the page.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    server.daemon_threads = True
    thread = threading.Thread(target=partial(server.serve_forever, 0.05))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def gateway(
    pagePort: int, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Broker]:
    """
    A broker that lets pages of that server in, and no others; it takes large frames.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no STOMP")
    folder = tmp_path_factory.mktemp("browser")
    issued = Authority(folder).issue("localhost")
    page = f"http://127.0.0.1:{pagePort}"
    tables: dict[str, Any] = {
        **configuration(folder),
        "plugins": {"load": ["stomp"]},
        "stomp": {
            "listener": {"bind": "127.0.0.1:0"},
            "ssl": {"certfile": issued.certfile, "keyfile": issued.keyfile},
            "ws": {
                "bind": "127.0.0.1:0",
                "secure_bind": "127.0.0.1:0",
                "allowed_origins": [page],
                "client_url": f"{page}/sockjs.js",
            },
            "frame": {"max_body_length": 1 << 20},
        },
    }
    tables["listener"]["ws"] = {"external": {"bind": "127.0.0.1:0"}}
    broker = startTwistd(folder, tables, listeners=5)
    yield broker
    broker.stop()


class Page:
    """
    The page: its functions, called one after the other.
    """

    def __init__(self, driver: Any, gateway: Broker, port: int) -> None:
        self.driver = driver
        self._gateway = gateway
        self._port = port

    def load(self, host: str = "127.0.0.1") -> Page:
        """
        Load it; whatever was there before is gone.
        """
        self.driver.get(f"http://{host}:{self._port}/")
        return self

    def url(self, secure: bool = False) -> str:
        """
        Where the gateway is.
        """
        port = self._gateway.ports["stomp.ws.secure_bind" if secure else "stomp.ws"]
        return f"http{'s' if secure else ''}://{self._gateway.host}:{port}/stomp"

    def call(self, function: str, *arguments: Any) -> Any:
        """
        Call a function, and wait for what it promises.

        @raise AssertionError: it fails.
        """
        outcome = self.driver.execute_async_script(
            f"const [given, done] = arguments;"
            f"Promise.resolve().then(() => {function}(...given)).then("
            f"(value) => done({{ value }}), (error) => done({{ error: `${{error.stack || error}}` }}));",
            list(arguments),
        )
        assert "error" not in outcome, outcome["error"]
        return outcome.get("value")

    def open(
        self,
        name: str,
        transport: str,
        versions: tuple[str, ...] = ("1.2", "1.1", "1.0"),
        secure: bool = False,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Any:
        """
        Connect a client.

        @return: the headers of CONNECTED, and C{sub-protocol}.
        """
        return self.call("open", name, transport, self.url(secure), versions, headers or {}, options)


@pytest.fixture(scope="module")
def chromium(gateway: Broker, pagePort: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """
    The browser.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    options.accept_insecure_certs = True
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "no-proxy-server",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(_DRIVER)))
    driver.set_script_timeout(PATIENCE)
    yield Page(driver, gateway, pagePort)
    driver.quit()


@pytest.fixture
def page(chromium: Page) -> Iterator[Page]:
    """
    A fresh page; what its console says is shown where a test fails.
    """
    chromium.load()
    yield chromium
    for entry in chromium.driver.get_log("browser"):
        print(entry["level"], entry["message"])


@EVERY_TRANSPORT
def test_exchanges(page: Page, name: str, transport: str) -> None:
    """
    Two clients in the page: text of every kind, headers, refusing and acknowledging, a hundred messages in a
    transaction, in order.
    """
    assert page.open("sender", transport)["version"] == "1.2"
    page.open("receiver", transport)
    page.call("subscribe", "receiver", f"{name}/#", {"ack": "client-individual"})
    text = "Grüße \u2028 \U0001f600 \\ : \n"
    page.call("send", "sender", f"{name}/a", text, {"x-header": "c:\\\nd"})
    first = page.call("next", "receiver")
    assert (first["body"], first["headers"]["x-header"]) == (text, "c:\\\nd")
    page.call("settle", "receiver", first["index"], "nack")
    again = page.call("next", "receiver")
    assert (again["body"], again["headers"]["redelivered"]) == (text, "true")
    page.call("settle", "receiver", again["index"], "ack")
    page.call("burst", "sender", f"{name}/b", 100)
    assert page.call("collect", "receiver", 100) == [str(number) for number in range(100)]
    assert page.call("close", "sender") and page.call("close", "receiver")


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_versions(page: Page, name: str, version: str) -> None:
    """
    Over plain WebSocket each version is spoken, under its sub-protocol; bytes that are no text arrive as they were.
    """
    connected = page.open("client", "ws", (version,))
    assert connected["version"] == version
    assert connected["sub-protocol"] == f"v{version.replace('.', '')}.stomp"
    page.call("subscribe", "client", f"{name}/a", {"id": "1"})
    page.call("sendBytes", "client", f"{name}/a", [0, 255, 254, 10])
    assert page.call("next", "client")["bytes"] == [0, 255, 254, 10]
    page.call("close", "client")


@pytest.mark.parametrize("transport", ["ws", "xhr-streaming"])
def test_secure(page: Page, name: str, transport: str) -> None:
    """
    The same over TLS.
    """
    page.open("client", transport, secure=True)
    page.call("subscribe", "client", f"{name}/a", {})
    page.call("send", "client", f"{name}/a", "hello", {})
    assert page.call("next", "client")["body"] == "hello"
    page.call("close", "client")


@EVERY_TRANSPORT
def test_largeFrames(page: Page, name: str, transport: str) -> None:
    """
    Frames of more than half a megabyte come through whole, both ways.
    """
    page.open("client", transport)
    page.call("subscribe", "client", f"{name}/a", {})
    body = "größer" * 80_000
    for _ in range(2):
        page.call("send", "client", f"{name}/a", body, {})
        assert page.call("next", "client")["body"] == body
    page.call("close", "client")


def test_framesInPieces(page: Page, name: str) -> None:
    """
    The client may cut a frame into several WebSocket messages.
    """
    page.open("client", "ws", splitLargeFrames=True, maxWebSocketChunkSize=1000)
    page.call("subscribe", "client", f"{name}/a", {})
    page.call("send", "client", f"{name}/a", "0123456789" * 1000, {})
    assert page.call("next", "client")["body"] == "0123456789" * 1000
    page.call("close", "client")


@pytest.mark.parametrize("transport", ["ws", "xhr-polling"])
def test_comesBack(page: Page, gateway: Broker, name: str, transport: str) -> None:
    """
    A client that is sent away is told why, comes back by itself, and finds in its session what came meanwhile.
    """
    headers = {"client-id": name, "clean-session": "false"}
    assert page.open("client", transport, headers=headers, reconnectDelay=500)["session-present"] == "false"
    page.call("subscribe", "client", f"{name}/a", {"ack": "client"})
    page.call("nextEvent", "client")
    with socket.create_connection((gateway.host, gateway.ports["stomp"]), PATIENCE) as thief:
        thief.sendall(
            b"CONNECT\naccept-version:1.2\nhost:x\nclient-id:%b\nclean-session:false\n\n\0" % name.encode()
            + b"SEND\ndestination:%b/a\nqos:1\nreceipt:1\n\nmeanwhile\0" % name.encode()
        )
        assert page.call("nextEvent", "client") == {"error": "session_taken_over"}
        thief.sendall(b"DISCONNECT\n\n\0")
        while thief.recv(4096):
            pass
    while "closed" in (event := page.call("nextEvent", "client")):
        pass
    assert event["session-present"] == "true"
    page.call("subscribe", "client", f"{name}/a", {"ack": "client"})
    assert page.call("next", "client")["body"] == "meanwhile"
    page.call("close", "client")


@pytest.mark.parametrize("transport", ["ws", "websocket", "xhr-streaming", "eventsource"])
def test_otherOrigins(chromium: Page, transport: str) -> None:
    """
    A page from elsewhere is not let in, by whatever transport.
    """
    page = chromium.load("localhost")
    with pytest.raises(AssertionError, match="closed: (1006|1002)"):
        page.open("client", transport)
    page.driver.get_log("browser")


def test_crossOrigin(page: Page) -> None:
    """
    A page may read the answers of the gateway, with what it has to ask for before (a preflight), and from elsewhere may
    not.
    """
    info = f"{page.url()}/info"
    options = {"headers": {"X-Page": "1"}, "credentials": "include"}
    answer = page.call("fetched", info, options)
    assert answer["status"] == 200 and '"websocket":true' in answer["body"]
    page.load("localhost")
    assert page.call("fetched", info, {}) == {"error": "Failed to fetch"}


def test_iframeElsewhere(chromium: Page) -> None:
    """
    The iframe, through which a page speaks as the gateway's own, is not shown by a page from elsewhere.
    """
    said: list[str] = []
    for host in ("127.0.0.1", "localhost"):
        page = chromium.load(host)
        page.call("show", f"{page.url()}/iframe.html")
        said.append(" ".join(entry["message"] for entry in page.driver.get_log("browser")))
    assert "frame-ancestors" not in said[0] and "frame-ancestors" in said[1]


@pytest.mark.parametrize("transport", ["ws", "xhr-streaming"])
def test_withMQTT(page: Page, gateway: Broker, name: str, transport: str) -> None:
    """
    An MQTT client receives the messages of the page, with their properties, and the other way round.
    """
    page.open("page", transport)
    page.call("subscribe", "page", f"{name}/m/+", {})
    with Peer(gateway, f"{name}m", V5) as mqtt:
        mqtt.subscribe(f"{name}/s/+")
        page.call("send", "page", f"{name}/s/1", "grün", {"persistent": "true", "content-type": "text/x", "k": "v"})
        message = mqtt.receive()
        assert (message.topic, message.payload.decode(), message.qos) == (f"{name}/s/1", "grün", 1)
        found = propertiesOf(message)
        assert (found["UserProperty"], found["ContentType"]) == ([("k", "v")], "text/x")
        mqtt.publish(f"{name}/m/1", "blue", 1, UserProperty=[("k", "w")], ContentType="text/y")
        back = page.call("next", "page")
        assert (back["body"], back["headers"]["k"], back["headers"]["content-type"]) == ("blue", "w", "text/y")
    page.call("close", "page")


@pytest.mark.parametrize("version", [4, 5])
def test_withMQTTInThePage(page: Page, gateway: Broker, name: str, version: int) -> None:
    """
    MQTT.js beside it in the page, over WebSocket, asks a question that a STOMP client answers.
    """
    page.open("client", "websocket")
    page.call("echo", "client", f"{name}/ask", f"{name}/answer")
    url = f"ws://{gateway.host}:{gateway.ports['listener.ws.external']}/mqtt"
    answer = page.call("askByMQTT", url, f"{name}m", f"{name}/ask", f"{name}/answer", "Größe?", version)
    assert answer == {"topic": f"{name}/answer", "body": "Größe?", "qos": 0}
    page.call("close", "client")


def test_pageIsLeft(page: Page, gateway: Broker, name: str) -> None:
    """
    When a page is left, the broker knows that its clients are gone.
    """
    with Peer(gateway, f"{name}m", V5) as mqtt:
        mqtt.subscribe("$SYS/brokers/+/clients/+/disconnected")
        for transport in ("ws", "xhr-streaming"):
            page.open(transport, transport, headers={"client-id": f"{name}{transport}"})
        page.driver.get("about:blank")
        left = {mqtt.receive().topic.split("/")[4] for _ in range(2)}
        assert left == {f"{name}ws", f"{name}xhr-streaming"}
