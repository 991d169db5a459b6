"""
The keys of listeners: C{[listener.<kind>.<name>]}, where kind is tcp, ssl, ws, wss or unix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Struct

from twisted_mqtt.config.forms import MODE, PROTOCOL_VERSIONS, TOPIC_TREE, URL_PATH
from twisted_mqtt.config.grammar import choice, whole
from twisted_mqtt.config.keys import (
    RESTART,
    Address,
    Duration,
    Flag,
    NoEffect,
    Rate,
    Short,
    Size,
    SocketPath,
    Texts,
    Whole,
    Window,
)
from twisted_mqtt.config.schema_ports import (
    CERTIFICATE_FILE,
    KEY_FILE,
    Acceptors,
    AuthoritiesFile,
    CertificateFile,
    CertificateUsername,
    Ciphers,
    HandshakeTimeout,
    HonorCipherOrder,
    KeyFile,
    MaxConnectionRate,
    MaxConnections,
    NoDelay,
    ParametersFile,
    PeerCertificate,
    PortSettings,
    PSKCiphers,
    Renegotiate,
    RequireCertificate,
    ReuseAddress,
    ReuseSessions,
    RevocationFile,
    TCPKeepAlive,
    TCPKeepAliveCount,
    TCPKeepAliveIdle,
    TCPKeepAliveInterval,
    TLSVersions,
    Verify,
)
from twisted_mqtt.config.values import Bind

_BUFFERS = "buffers above the kernel's grow and shrink by themselves"


class Listener(PortSettings, frozen=True, kw_only=True):
    """
    The keys of every kind of listener.

    @ivar name: the name its user gave it.
    @ivar listenerKind: C{"tcp"}, C{"ssl"}, C{"ws"}, C{"wss"} or C{"unix"}.
    """

    name: str = ""
    listenerKind: str = ""

    zone: Annotated[str, "The zone whose options hold for its clients"] = "external"
    rate_limit: Annotated[
        Rate | None,
        "Most bytes taken from one connection: `100KB,10s` is 100 KB in 10 seconds, `1024,4096` is 1024 a second "
        "and 4096 at once. Above it the broker pauses reading from that connection",
    ] = None
    max_publish_rate: Annotated[
        Window | None, "Most messages taken from one connection: `10,60` is 10 a minute. As the zone's `publish_limit`"
    ] = None
    max_connection_lifetime: Annotated[
        Duration,
        "Time after which a client is sent away (0x98), so that it has to show again who it is; 0 for never",
    ] = 0.0
    allowed_protocol_versions: Annotated[
        tuple[int, ...], PROTOCOL_VERSIONS, "MQTT versions that are served: 3 is 3.1, 4 is 3.1.1"
    ] = (3, 4, 5)
    buffer: Annotated[Size | None, NoEffect(_BUFFERS), "Size of the buffer above the kernel's"] = None
    tune_buffer: Annotated[Flag, NoEffect(_BUFFERS), "Whether that buffer follows the kernel's"] = False
    topic_tree: Annotated[
        str,
        TOPIC_TREE,
        "The topic tree of its clients. A message of one tree is not delivered in another, and the same client "
        "identifier may be in use in each; empty is the default tree, the only one with `$SYS`",
    ] = ""
    active_n: Annotated[
        Whole, NoEffect("each ready socket is read once a turn"), "Packets a socket hands over before it is asked again"
    ] = 100

    @property
    def path(self) -> str:
        """
        The table it was read from, such as C{"listener.tcp.external"}.
        """
        return f"listener.{self.listenerKind}.{self.name}"


class TCPListener(Listener, frozen=True, kw_only=True):
    """
    C{[listener.tcp.<name>]}: MQTT over TCP.
    """

    listenerKind: str = "tcp"

    bind: Annotated[Address, "Where to listen; a port alone means every IPv4 address, port 0 any free one"]
    max_connections: MaxConnections = 1024000
    peer_cert_as_username: Annotated[
        PeerCertificate | None,
        "Which part of the client's certificate, passed on by a PROXY header of version 2, is its user name",
    ] = None
    nodelay: NoDelay = True
    tcp_keepalive: TCPKeepAlive = True
    tcp_keepalive_idle: TCPKeepAliveIdle = 120.0
    tcp_keepalive_interval: TCPKeepAliveInterval = 30.0
    tcp_keepalive_count: TCPKeepAliveCount = 4
    reuseaddr: ReuseAddress = True


class UNIXListener(Listener, frozen=True, kw_only=True):
    """
    C{[listener.unix.<name>]}: MQTT over a UNIX socket.
    """

    listenerKind: str = "unix"

    bind: Annotated[SocketPath, "The path of the socket"]
    mode: Annotated[int, MODE, RESTART, "The permissions of the socket's file"] = 0o660


class SecureListener(Listener, frozen=True, kw_only=True):
    """
    The keys of listeners with TLS.
    """

    bind: Annotated[Address, "Where to listen; a port alone means every IPv4 address, port 0 any free one"]
    peer_cert_as_username: CertificateUsername = None
    nodelay: NoDelay = True
    tcp_keepalive: TCPKeepAlive = True
    tcp_keepalive_idle: TCPKeepAliveIdle = 120.0
    tcp_keepalive_interval: TCPKeepAliveInterval = 30.0
    tcp_keepalive_count: TCPKeepAliveCount = 4
    reuseaddr: ReuseAddress = True
    tls_versions: TLSVersions = ("tlsv1.2", "tlsv1.3")
    handshake_timeout: HandshakeTimeout = 15.0
    keyfile: KeyFile = KEY_FILE
    certfile: CertificateFile = CERTIFICATE_FILE
    cacertfile: AuthoritiesFile = None
    crlfile: RevocationFile = None
    dhfile: ParametersFile = None
    verify: Verify = "verify_none"
    fail_if_no_peer_cert: RequireCertificate = False
    ciphers: Ciphers = ()
    psk_ciphers: PSKCiphers = ()
    secure_renegotiate: Renegotiate = False
    reuse_sessions: ReuseSessions = True
    honor_cipher_order: HonorCipherOrder = True


class TLSListener(SecureListener, frozen=True, kw_only=True):
    """
    C{[listener.ssl.<name>]}: MQTT over TLS.
    """

    listenerKind: str = "ssl"

    max_conn_rate: MaxConnectionRate = 500
    acceptors: Acceptors = 16


class DeflateSettings(Struct, frozen=True, kw_only=True):
    """
    C{deflate_opts}: how WebSocket messages are compressed.
    """

    level: Annotated[
        str, choice(["default", "none", "best_speed", "best_compression", *map(str, range(10))]), "The effort of zlib"
    ] = "default"
    mem_level: Annotated[int, whole(1, 9), "The memory of zlib"] = 8
    strategy: Annotated[Literal["default", "filtered", "huffman_only", "rle"], "The kind of data that zlib expects"] = (
        "default"
    )
    server_context_takeover: Annotated[
        Literal["takeover", "no_takeover"], "Whether the broker's messages refer to earlier ones"
    ] = "takeover"
    client_context_takeover: Annotated[
        Literal["takeover", "no_takeover"], "Whether the client's messages refer to earlier ones"
    ] = "takeover"
    server_max_window_bits: Annotated[int, whole(9, 15), "How far back the broker's messages refer"] = 15
    client_max_window_bits: Annotated[int, whole(9, 15), "How far back the client's messages refer"] = 15


# The WebSocket keys stand in two structures that cannot share a base: a msgspec structure has one line of ancestors,
# and wss has that of TLS.
MQTTPath = Annotated[str, URL_PATH, "Path of the URL that speaks MQTT"]
VerifyHeader = Annotated[Flag, "Whether the client must ask for an MQTT sub-protocol (`Sec-WebSocket-Protocol`)"]
Origins = Annotated[Texts, "Web pages that may connect, such as `https://example.org`; empty for all"]
AddressHeader = Annotated[
    str | None,
    "Header in which a proxy passes on the client's address; of several the first counts. The proxy has to write it "
    "anew, since clients may send one of their own",
]
PortHeader = Annotated[str | None, "Header in which a proxy passes on the client's port"]
Compress = Annotated[Flag, "Whether messages may be compressed (permessage-deflate)"]
DeflateOptions = Annotated[DeflateSettings, "How messages are compressed"]
IdleTimeout = Annotated[Duration, "Time after which a silent WebSocket is closed; 0 leaves that to the keep-alive"]
MaxFrameSize = Annotated[Size, "Largest WebSocket message; 0 leaves that to the limit on MQTT packets"]


class WebSocketListener(TCPListener, frozen=True, kw_only=True):
    """
    C{[listener.ws.<name>]}: MQTT over WebSocket.
    """

    listenerKind: str = "ws"

    max_connections: MaxConnections = 102400
    acceptors: Acceptors = 4
    mqtt_path: MQTTPath = "/mqtt"
    verify_protocol_header: VerifyHeader = True
    allowed_origins: Origins = ()
    proxy_address_header: AddressHeader = None
    proxy_port_header: PortHeader = None
    compress: Compress = False
    deflate_opts: DeflateOptions = DeflateSettings()
    idle_timeout: IdleTimeout = 0.0
    max_frame_size: MaxFrameSize = 0


class SecureWebSocketListener(SecureListener, frozen=True, kw_only=True):
    """
    C{[listener.wss.<name>]}: MQTT over WebSocket over TLS.
    """

    listenerKind: str = "wss"

    acceptors: Acceptors = 4
    mqtt_path: MQTTPath = "/mqtt"
    verify_protocol_header: VerifyHeader = True
    allowed_origins: Origins = ()
    proxy_address_header: AddressHeader = None
    proxy_port_header: PortHeader = None
    compress: Compress = False
    deflate_opts: DeflateOptions = DeflateSettings()
    idle_timeout: IdleTimeout = 0.0
    max_frame_size: MaxFrameSize = 0


#: Where the listeners with the usual names listen when nobody says so: never beyond this machine.
USUAL_BINDS: dict[tuple[str, str], Bind] = {
    ("tcp", "external"): Bind("127.0.0.1", 1883),
    ("tcp", "internal"): Bind("127.0.0.1", 11883),
    ("ssl", "external"): Bind("127.0.0.1", 8883),
    ("ws", "external"): Bind("127.0.0.1", 8083),
    ("wss", "external"): Bind("127.0.0.1", 8084),
}


class ListenerTables(Struct, frozen=True, kw_only=True):
    """
    C{[listener]}: every listener by kind and name. A file that has none gets C{tcp.external} and C{ws.external}.
    """

    tcp: Annotated[dict[str, TCPListener], Short("bind"), "MQTT over TCP"] = {}
    ssl: Annotated[dict[str, TLSListener], Short("bind"), "MQTT over TLS"] = {}
    ws: Annotated[dict[str, WebSocketListener], Short("bind"), "MQTT over WebSocket"] = {}
    wss: Annotated[dict[str, SecureWebSocketListener], Short("bind"), "MQTT over WebSocket over TLS"] = {}
    unix: Annotated[dict[str, UNIXListener], Short("bind"), "MQTT over UNIX sockets"] = {}

    def __iter__(self) -> Iterator[AnyListener]:
        yield from self.tcp.values()
        yield from self.ssl.values()
        yield from self.ws.values()
        yield from self.wss.values()
        yield from self.unix.values()


AnyListener = TCPListener | TLSListener | WebSocketListener | SecureWebSocketListener | UNIXListener
