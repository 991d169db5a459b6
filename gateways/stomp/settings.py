"""
The tables of the STOMP gateway.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from twisted_mqtt.config.forms import TOPIC_TREE, URL_PATH
from twisted_mqtt.config.keys import Address, Duration, Flag, Positive, Short, Size, Texts, Whole
from twisted_mqtt.config.schema_listeners import Compress, DeflateOptions, DeflateSettings
from twisted_mqtt.config.schema_ports import (
    Acceptors,
    CertificateUsername,
    MaxConnections,
    TCPPortSettings,
    TLSPortSettings,
)
from twisted_mqtt.config.values import KB, MB, Bind


class StompUser(Struct, frozen=True, kw_only=True):
    """
    C{[stomp.default_user]}.
    """

    login: Annotated[
        str, "Name of the built-in account; empty for none. As `guest` with `guest` it serves this machine alone"
    ] = "guest"
    passcode: Annotated[str, "Its password"] = "guest"


class StompFrame(Struct, frozen=True, kw_only=True):
    """
    C{[stomp.frame]}.
    """

    max_headers: Annotated[Positive, "Most headers of a frame"] = 10
    max_header_length: Annotated[Positive, "Longest header, in bytes"] = 1024
    max_body_length: Annotated[Positive, "Longest body, in bytes"] = 8192


class StompTransaction(Struct, frozen=True, kw_only=True):
    """
    C{[stomp.transaction]}.
    """

    max_transactions: Annotated[Positive, "Most transactions that a client may have open"] = 10
    max_frames: Annotated[Positive, "Most frames in a transaction"] = 1000
    max_size: Annotated[Size, "Most bytes in a transaction"] = MB
    timeout: Annotated[Duration, "How long a transaction may be open before it is aborted; 0 for ever"] = 60.0


class StompDestination(Struct, frozen=True, kw_only=True):
    """
    C{[stomp.destination]}.
    """

    topic_prefix: Annotated[
        str, "Prefix of a destination that is a topic, such as `/topic/`; empty where every destination is a topic"
    ] = ""
    queue_prefix: Annotated[
        str, "Prefix of a destination whose subscribers share its messages, such as `/queue/`; empty for none"
    ] = ""


class StompListener(TCPPortSettings, frozen=True, kw_only=True):
    """
    C{[stomp.listener]}.
    """

    bind: Annotated[Address | None, "Where to listen; a port alone means every IPv4 address; `none` for nowhere"] = (
        Bind("127.0.0.1", 61613)
    )
    max_connections: MaxConnections = 512
    acceptors: Acceptors = 4


class StompTLS(TLSPortSettings, frozen=True, kw_only=True):
    """
    C{[stomp.ssl]}: STOMP over TLS.
    """

    max_connections: MaxConnections = 512
    acceptors: Acceptors = 4
    peer_cert_as_username: CertificateUsername = None


class StompWeb(TCPPortSettings, frozen=True, kw_only=True):
    """
    C{[stomp.ws]}: STOMP over WebSocket and SockJS.
    """

    bind: Annotated[Address | None, "Where to listen for HTTP; `none` for no such listener"] = None
    # SockJS takes two for each client.
    max_connections: MaxConnections = 1024
    acceptors: Acceptors = 4
    secure_bind: Annotated[
        Address | None, "The same for HTTPS, with the keys of `stomp.ssl`; `none` for no such listener"
    ] = None
    path: Annotated[str, URL_PATH, "Path of WebSocket, and of SockJS below it"] = "/stomp"
    allowed_origins: Annotated[Texts, "Web pages that may connect, such as `https://example.org`; empty for all"] = ()
    compress: Compress = False
    deflate_opts: DeflateOptions = DeflateSettings()
    heartbeat: Annotated[Duration, "How often a silent SockJS connection gets a heart-beat"] = 25.0
    disconnect_delay: Annotated[Duration, "How long a SockJS session waits for its client's next request"] = 5.0
    response_limit: Annotated[Size, "Bytes after which a streaming answer of SockJS ends; the client asks again"] = (
        128 * KB
    )
    client_url: Annotated[str, "Where the iframe of SockJS finds its client library; empty for no iframe"] = ""


class StompSettings(Struct, frozen=True, kw_only=True):
    """
    C{[stomp]}: the STOMP gateway.
    """

    default_user: Annotated[StompUser, "The built-in account"] = StompUser()
    allow_anonymous: Annotated[
        Flag | None, "Whether clients may connect without a login; if nothing is said, as MQTT clients of the zone"
    ] = None
    frame: Annotated[StompFrame, "Limits of frames"] = StompFrame()
    transaction: Annotated[StompTransaction, "Limits of transactions"] = StompTransaction()
    destination: Annotated[StompDestination, "What destinations look like"] = StompDestination()
    max_unacknowledged: Annotated[
        Positive, "Most messages that a client has not acknowledged; further ones wait in its queue"
    ] = 1000
    max_redeliveries: Annotated[
        Whole, "How often a message that a client refuses (NACK) is sent again before it is dropped"
    ] = 5
    max_clients: Annotated[Positive, "Most clients at once, of all its ports"] = 512
    max_clients_per_address: Annotated[Whole, "Most sessions that clients at one address have; 0 for no limit"] = 25_000
    max_subscriptions: Annotated[Positive, "Most subscriptions of a client"] = 1000
    min_heart_beat: Annotated[Duration, "No heart-beat is promised or expected more often than this"] = 0.1
    listener: Annotated[StompListener, Short("bind"), "Where the gateway listens"] = StompListener()
    ssl: Annotated[StompTLS, Short("bind"), "The same with TLS"] = StompTLS()
    ws: Annotated[StompWeb, Short("bind"), "The same over WebSocket and SockJS"] = StompWeb()
    zone: Annotated[str, "The zone whose options hold for its clients"] = "external"
    topic_tree: Annotated[str, TOPIC_TREE, "The topic tree of its clients; empty is the default tree"] = ""
