"""
The tables of the LwM2M gateway.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from twisted_mqtt.config.forms import BIND, HEX, SERVER_URI, TOPIC_TREE
from twisted_mqtt.config.grammar import whole
from twisted_mqtt.config.keys import (
    Address,
    Duration,
    File,
    Flag,
    NoEffect,
    Numbered,
    Positive,
    Size,
    Texts,
    TopicFilter,
    TopicName,
    Whole,
)
from twisted_mqtt.config.schema_ports import DatagramAccess
from twisted_mqtt.config.values import MB, AccessRule, Bind


class LwM2MTopics(Struct, frozen=True, kw_only=True):
    """
    C{[lwm2m.topics]}.
    """

    command: Annotated[TopicFilter, "Where commands for a device are published"] = "dn/#"
    response: Annotated[TopicName, "Where its answers go"] = "up/resp"
    notify: Annotated[TopicName, "Where its notifications go"] = "up/notify"
    register: Annotated[TopicName, "Where its registrations are told"] = "up/resp"
    update: Annotated[TopicName, "Where changes of its registration are told"] = "up/resp"


class LwM2MBinds(Struct, frozen=True, kw_only=True):
    """
    C{[lwm2m.bind]}.
    """

    udp: Annotated[tuple[Bind, ...], BIND, Numbered(), "UDP addresses besides `lwm2m.port`"] = ()
    dtls: Annotated[tuple[Bind, ...], BIND, Numbered(), "UDP addresses with DTLS"] = ()


class LwM2MOptions(Struct, frozen=True, kw_only=True):
    """
    C{[lwm2m.opts]}.
    """

    buffer: Annotated[
        Size, NoEffect("datagrams are not buffered above the kernel"), "Size of the buffer above the kernel's"
    ] = MB
    recbuf: Annotated[Size, "Size of the kernel's receive buffer"] = MB
    sndbuf: Annotated[Size, "Size of the kernel's send buffer"] = MB
    read_packets: Annotated[Positive, NoEffect("the reactor decides"), "Datagrams read in one turn of the reactor"] = 20


class LwM2MBootstrapServer(Struct, frozen=True, kw_only=True):
    """
    C{[lwm2m.bootstrap.server.<name>]}: a server that devices are to register with.
    """

    name: str = ""
    uri: Annotated[str, SERVER_URI, "Where it is; with `coaps` devices get a pre-shared key"]
    short_server_id: Annotated[int, whole(1, 65534), "Its number, unlike that of any other"] = 1
    lifetime: Annotated[Duration, "How long registrations last"] = 86400.0
    binding: Annotated[str, "How devices are to be reached: `U`, or `UQ` for those that sleep"] = "U"


class LwM2MBootstrapEndpoint(Struct, frozen=True, kw_only=True):
    """
    C{[lwm2m.bootstrap.endpoint.<name>]}: what a device gets that is not like the others.
    """

    name: str = ""
    identity: Annotated[str, "The identity of its pre-shared key; empty for its endpoint name"] = ""
    key: Annotated[str, HEX, "The key in hexadecimal; empty for that of `psk_file`"] = ""
    servers: Annotated[Texts, "The names of its servers; empty for all"] = ()


class LwM2MBootstrap(Struct, frozen=True, kw_only=True):
    """
    C{[lwm2m.bootstrap]}: the bootstrap server.

    @ivar others: for devices without a table of their own.
    """

    enable: Annotated[Flag, "Whether devices may ask which servers they are to register with"] = False
    server: Annotated[dict[str, LwM2MBootstrapServer], "Those servers"] = {}
    endpoint: Annotated[dict[str, LwM2MBootstrapEndpoint], "Devices that are not like the others"] = {}
    others: LwM2MBootstrapEndpoint = LwM2MBootstrapEndpoint()


class LwM2MSettings(Struct, frozen=True, kw_only=True):
    """
    C{[lwm2m]}: the LwM2M gateway.
    """

    port: Annotated[Address, "UDP port or address; a port alone means every IPv4 address"] = Bind("127.0.0.1", 5783)
    lifetime_min: Annotated[Duration, "Shortest lifetime that a device may register for"] = 1.0
    lifetime_max: Annotated[Duration, "Longest lifetime that a device may register for"] = 86400.0
    qmode_time_window: Annotated[Duration, "How long a device in queue mode listens after its last message"] = 22.0
    lb: Annotated[
        Literal["undefined", "coaproxy"],
        NoEffect("any number of devices may come from one address, as they do from a proxy's"),
        "The proxy in front of the gateway",
    ] = "undefined"
    auto_observe: Annotated[Flag, "Whether every object of a new device is observed"] = False
    mountpoint: Annotated[
        TopicName, "Prefix of every topic; %e is the device's endpoint name, %a its address, here and in the topics"
    ] = "lwm2m/%e/"
    topics: Annotated[LwM2MTopics, "Topics after the mountpoint"] = LwM2MTopics()
    xml_dir: Annotated[str, "Folder of object definitions; empty for the standard ones"] = ""
    certfile: Annotated[File, "The server's certificate (PEM), for DTLS"] = "etc/certs/cert.pem"
    keyfile: Annotated[File, "Its private key (PEM)"] = "etc/certs/key.pem"
    verify: Annotated[
        Literal["verify_none", "verify_peer"],
        "With DTLS: whether devices are asked for a certificate, and it is checked",
    ] = "verify_none"
    cacertfile: Annotated[File | None, "The authorities whose device certificates are accepted (PEM)"] = None
    fail_if_no_peer_cert: Annotated[Flag, "With `verify_peer`: whether a device without a certificate is refused"] = (
        False
    )
    access: DatagramAccess = (AccessRule(True),)
    max_associations: Annotated[Positive, "Most devices with DTLS at once, on one port"] = 102_400
    bind: Annotated[LwM2MBinds, "Further addresses"] = LwM2MBinds()
    bootstrap: Annotated[LwM2MBootstrap, "The bootstrap server"] = LwM2MBootstrap()
    opts: Annotated[LwM2MOptions, "The gateway's sockets"] = LwM2MOptions()
    max_clients: Annotated[Positive, "Most devices at once; others are answered 5.03"] = 102_400
    max_clients_per_address: Annotated[
        Whole, "Most of them at one address, such as that of a proxy; 0 for no limit"
    ] = 25_000
    max_commands: Annotated[
        Positive, "Most commands that wait for one device; of more, the oldest is answered 5.03"
    ] = 100
    max_command_bytes: Annotated[Size, "Most bytes of them, likewise"] = 4 * MB
    command_expiry: Annotated[
        Duration, "How long a command without an expiry of its own waits for its device; 0 for as long as that is there"
    ] = 86400.0
    response_timeout: Annotated[Duration, "How long a device may take to answer what it has received"] = 120.0
    max_observations: Annotated[Positive, "Most observations of one device"] = 100
    max_body: Annotated[Size, "Largest payload of a device that is put together from blocks"] = MB
    block_size: Annotated[
        Positive, "Payload above this goes out in blocks: the largest of 16, 32, ... 1024 bytes that fits"
    ] = 1024
    zone: Annotated[str, "The zone whose options hold for its clients"] = "external"
    topic_tree: Annotated[str, TOPIC_TREE, "The topic tree of its clients; empty is the default tree"] = ""
