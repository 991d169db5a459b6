"""
The tables of the CoAP gateway.
"""

from __future__ import annotations

from typing import Annotated

from twisted_mqtt.config.forms import GROUP_LIST, TOPIC_TREE
from twisted_mqtt.config.keys import Address, Alias, Duration, Flag, Positive, Short, Size, Whole
from twisted_mqtt.config.schema_ports import (
    CERTIFICATE_FILE,
    KEY_FILE,
    AuthoritiesFile,
    CertificateFile,
    CertificateUsername,
    DatagramSettings,
    KeyFile,
    ReceiveBuffer,
    RequireCertificate,
    RevocationFile,
    TCPPortSettings,
    Verify,
)
from twisted_mqtt.config.values import MB, Bind

# Large enough for what comes while one turn is at work; the kernel gives what it allows.
_RECEIVE_BUFFER = 4 * MB


class DTLSSettings(DatagramSettings, frozen=True, kw_only=True):
    """
    C{[coap.dtls]}.
    """

    port: Annotated[Address | None, "UDP port or address with DTLS; `none` for no such listener"] = None
    recbuf: ReceiveBuffer = _RECEIVE_BUFFER
    keyfile: KeyFile = KEY_FILE
    certfile: CertificateFile = CERTIFICATE_FILE
    cacertfile: AuthoritiesFile = None
    crlfile: RevocationFile = None
    verify: Verify = "verify_none"
    fail_if_no_peer_cert: RequireCertificate = False
    peer_cert_as_username: CertificateUsername = None
    max_associations: Annotated[Positive, "Most clients with DTLS at once"] = 102_400


class CoAPStreamSettings(TCPPortSettings, frozen=True, kw_only=True):
    """
    C{[coap.tcp]}.
    """

    bind: Annotated[
        Address | None, Alias("port"), "TCP port or address of CoAP over TCP; `none` for no such listener"
    ] = None


class CoAPSettings(DatagramSettings, frozen=True, kw_only=True):
    """
    C{[coap]}: the CoAP gateway.
    """

    port: Annotated[Address, Alias("server"), "UDP port or address; a port alone means every IPv4 address"] = Bind(
        "127.0.0.1", 5683
    )
    recbuf: ReceiveBuffer = _RECEIVE_BUFFER
    keepalive: Annotated[Duration, "How long a client counts as connected after its last request"] = 120.0
    enable_stats: Annotated[Flag, "Whether figures are kept for every client"] = False
    max_clients: Annotated[Positive, "Most clients at once; requests of others are answered 5.03"] = 102_400
    max_clients_per_address: Annotated[Whole, "Most of them at one address; 0 for no limit"] = 25_000
    max_observations: Annotated[Positive, "Most observations of a client; further ones are answered 4.29"] = 1000
    max_body: Annotated[Size, "Largest payload that is put together from blocks"] = MB
    max_topics: Annotated[Positive, "Most topics that `/ps` knows more of than their value"] = 100_000
    block_size: Annotated[
        Positive, "Payload above this goes out in blocks: the largest of 16, 32, ... 1024 bytes that fits"
    ] = 1024
    multicast: Annotated[Flag, "Whether devices that look for CoAP servers by multicast find this one"] = False
    multicast_groups: Annotated[
        tuple[str, ...], GROUP_LIST, "The groups that are heard then, of the kind of address that `port` has"
    ] = ("224.0.1.187", "ff02::fd", "ff05::fd")
    multicast_leisure: Annotated[Duration, "An answer to a group comes after a random part of this time"] = 5.0
    dtls: Annotated[DTLSSettings, "The same with DTLS"] = DTLSSettings()
    tcp: Annotated[CoAPStreamSettings, Short("bind"), "The same over TCP (RFC 8323)"] = CoAPStreamSettings()
    zone: Annotated[str, "The zone whose options hold for its clients"] = "external"
    topic_tree: Annotated[str, TOPIC_TREE, "The topic tree of its clients; empty is the default tree"] = ""
