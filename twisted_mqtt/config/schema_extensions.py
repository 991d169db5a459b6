"""
The tables of the extensions and gateways that come with the broker.

An extension of somebody else declares its own table, see L{twisted_mqtt.config.registry}.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from twisted_mqtt.config.forms import GROUP_LIST
from twisted_mqtt.config.keys import (
    RESTART,
    Address,
    Alias,
    Duration,
    Entries,
    File,
    Flag,
    Positive,
    QoS,
    Rewrites,
    Short,
    Size,
    TopicFilter,
    Whole,
)
from twisted_mqtt.config.schema_listeners import PeerCertificate
from twisted_mqtt.config.values import MB, Bind


class Retainer(Struct, frozen=True, kw_only=True):
    """
    C{[retainer]}: limits of retained messages.
    """

    storage_type: Annotated[
        Literal["ram", "disc", "disc_only"], RESTART, "Kept in memory, on disk as well, or on disk only"
    ] = "disc"
    max_retained_messages: Annotated[
        Whole,
        Alias("max_message_num"),
        "Most retained messages; above it only existing ones are replaced; 0 for no limit",
    ] = 0
    max_payload_size: Annotated[Size, "Largest payload that is retained; a larger one is only delivered"] = MB
    expiry_interval: Annotated[Duration, "Life of a retained message without an expiry of its own; 0 for ever"] = 0.0


class DelayedPublish(Struct, frozen=True, kw_only=True):
    """
    C{[delayed_publish]}: limits of `$delayed/<seconds>/<topic>`.
    """

    max_delayed_messages: Annotated[Whole, "Most messages waiting for their time; 0 for no limit"] = 0


class Presence(Struct, frozen=True, kw_only=True):
    """
    C{[module.presence]}: messages about clients that come and go.
    """

    enable: Annotated[Flag, "Whether it starts with the broker although `plugins.load` does not name it"] = True
    qos: Annotated[QoS, "Quality of service of these messages"] = 1


class ProxySubscription(Struct, frozen=True, kw_only=True):
    """
    C{[module.subscription.<number>]}: one subscription made for every client.
    """

    topic: Annotated[TopicFilter, "The topic filter; %c is the client identifier, %u the user name"]
    qos: Annotated[QoS, "The subscription's quality of service"] = 0


class Subscription(Struct, frozen=True, kw_only=True):
    """
    C{[module.subscription]}: subscriptions that the broker makes for every client.
    """

    enable: Annotated[Flag, "Whether it starts with the broker although `plugins.load` does not name it"] = False
    entries: Annotated[tuple[ProxySubscription, ...], Entries(), "The subscriptions"] = ()


class Rewrite(Struct, frozen=True, kw_only=True):
    """
    C{[module.rewrite]}: topics that are replaced.
    """

    enable: Annotated[Flag, "Whether it starts with the broker although `plugins.load` does not name it"] = False
    rule: Annotated[
        Rewrites, "`<topic filter> <regular expression> <destination>`; $1 is what the first group matched"
    ] = ()


class PSKFileTable(Struct, frozen=True, kw_only=True):
    """
    C{[psk.file]}.
    """

    path: Annotated[File, "File of lines `identity:key`, the key in hexadecimal digits"] = "etc/psk.txt"


class PSK(Struct, frozen=True, kw_only=True):
    """
    C{[psk]}: pre-shared keys for TLS and DTLS.
    """

    file: Annotated[PSKFileTable, Short("path"), "Where the keys stand"] = PSKFileTable()


class DTLS(Struct, frozen=True, kw_only=True):
    """
    C{[coap.dtls]}.
    """

    port: Annotated[Address | None, "UDP port or address with DTLS; `none` for no such listener"] = None
    keyfile: Annotated[File, "The server's private key (PEM)"] = "etc/certs/key.pem"
    certfile: Annotated[File, "The server's certificate (PEM)"] = "etc/certs/cert.pem"
    verify: Annotated[
        Literal["verify_none", "verify_peer"], "Whether clients are asked for a certificate, and it is checked"
    ] = "verify_none"
    cacertfile: Annotated[File | None, "The authorities whose client certificates are accepted (PEM)"] = None
    fail_if_no_peer_cert: Annotated[Flag, "With `verify_peer`: whether a client without a certificate is refused"] = (
        False
    )
    peer_cert_as_username: Annotated[
        PeerCertificate | None,
        "Which part of the client's certificate is its user name: common name, whole subject, or the certificate; "
        "needs `verify = verify_peer`",
    ] = None
    max_associations: Annotated[Positive, "Most clients with DTLS at once"] = 102_400


class CoAPStream(Struct, frozen=True, kw_only=True):
    """
    C{[coap.tcp]}.
    """

    port: Annotated[Address | None, "TCP port or address of CoAP over TCP; `none` for no such listener"] = None
    max_connections: Annotated[Positive, "Most connections at once"] = 102_400


class CoAP(Struct, frozen=True, kw_only=True):
    """
    C{[coap]}: the CoAP gateway.
    """

    port: Annotated[Address, Alias("server"), "UDP port or address; a port alone means every IPv4 address"] = Bind(
        "127.0.0.1", 5683
    )
    keepalive: Annotated[Duration, "How long a client counts as connected after its last request"] = 120.0
    enable_stats: Annotated[Flag, "Whether figures are kept for every client"] = False
    max_clients: Annotated[Positive, "Most clients at once; requests of others are answered 5.03"] = 102_400
    max_body: Annotated[Size, "Largest payload that is put together from blocks"] = MB
    max_topics: Annotated[Positive, "Most topics that `/ps` knows a content format and age of"] = 100_000
    block_size: Annotated[
        Positive, "Payload above this goes out in blocks: the largest of 16, 32, ... 1024 bytes that fits"
    ] = 1024
    multicast: Annotated[Flag, "Whether devices that look for CoAP servers by multicast find this one"] = False
    multicast_groups: Annotated[
        tuple[str, ...], GROUP_LIST, "The groups that are heard then, of the kind of address that `port` has"
    ] = ("224.0.1.187", "ff02::fd", "ff05::fd")
    multicast_leisure: Annotated[Duration, "An answer to a group comes after a random part of this time"] = 5.0
    dtls: Annotated[DTLS, "The same with DTLS"] = DTLS()
    tcp: Annotated[CoAPStream, "The same over TCP (RFC 8323)"] = CoAPStream()
    zone: Annotated[str, "The zone whose options hold for its clients"] = "external"
