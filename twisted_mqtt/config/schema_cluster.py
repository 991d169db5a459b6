"""
The keys of clustering, C{[cluster]} and C{[rpc]}. The reader accepts them, so that an existing configuration stays
valid.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from twisted_mqtt.config.grammar import WHOLE, listOf, whole
from twisted_mqtt.config.keys import Duration, Flag, Port, Positive, Size, Texts
from twisted_mqtt.config.values import MB


class StaticDiscovery(Struct, frozen=True, kw_only=True):
    """
    C{[cluster.static]}.
    """

    seeds: Annotated[Texts, "The nodes"] = ()


class MulticastDiscovery(Struct, frozen=True, kw_only=True):
    """
    C{[cluster.mcast]}.
    """

    addr: Annotated[str, "Address of the group"] = "239.192.0.1"
    ports: Annotated[tuple[int, ...], listOf(WHOLE), "UDP ports that are tried"] = (4369, 4370)
    iface: Annotated[str, "Local address"] = "0.0.0.0"
    ttl: Annotated[int, whole(0, 255), "Networks the datagrams may cross"] = 255
    loop: Annotated[Flag, "Whether datagrams come back to this machine"] = True


class DNSDiscovery(Struct, frozen=True, kw_only=True):
    """
    C{[cluster.dns]}.
    """

    name: Annotated[str, "Host name whose addresses are the nodes'"] = "localhost"
    app: Annotated[str, "First half of the nodes' names"] = "mqttbroker"


class EtcdTLS(Struct, frozen=True, kw_only=True):
    """
    C{[cluster.etcd.ssl]}.
    """

    keyfile: Annotated[str, "Private key (PEM)"] = ""
    certfile: Annotated[str, "Certificate (PEM)"] = ""
    cacertfile: Annotated[str, "Authorities (PEM)"] = ""


class EtcdDiscovery(Struct, frozen=True, kw_only=True):
    """
    C{[cluster.etcd]}.
    """

    server: Annotated[Texts, "The servers"] = ("http://127.0.0.1:2379",)
    prefix: Annotated[str, "First part of the nodes' keys"] = "mqttbroker"
    node_ttl: Annotated[Duration, "How long a silent node's key stays"] = 60.0
    ssl: Annotated[EtcdTLS, "TLS towards the servers"] = EtcdTLS()


class KubernetesDiscovery(Struct, frozen=True, kw_only=True):
    """
    C{[cluster.k8s]}.
    """

    apiserver: Annotated[Texts, "The API servers"] = ()
    service_name: Annotated[str, "Service whose endpoints are the nodes"] = "mqttbroker"
    address_type: Annotated[Literal["ip", "dns", "hostname"], "Which part of an endpoint is the host"] = "ip"
    app_name: Annotated[str, "First half of the nodes' names"] = "mqttbroker"
    namespace: Annotated[str, "The namespace"] = "default"


class Cluster(Struct, frozen=True, kw_only=True):
    """
    C{[cluster]}.
    """

    name: Annotated[str, "The cluster's name"] = "mqttbrokercl"
    proto_dist: Annotated[Literal["inet_tcp", "inet6_tcp", "inet_tls"], "Transport between nodes"] = "inet_tcp"
    discovery: Annotated[Literal["manual", "static", "mcast", "dns", "etcd", "k8s"], "How nodes find each other"] = (
        "manual"
    )
    autoheal: Annotated[Flag, "Whether a split cluster joins again by itself"] = True
    autoclean: Annotated[Duration, "Time after which a dead node is forgotten"] = 300.0
    static: Annotated[StaticDiscovery, "Nodes by name"] = StaticDiscovery()
    mcast: Annotated[MulticastDiscovery, "Nodes by multicast"] = MulticastDiscovery()
    dns: Annotated[DNSDiscovery, "Nodes by DNS"] = DNSDiscovery()
    etcd: Annotated[EtcdDiscovery, "Nodes by etcd"] = EtcdDiscovery()
    k8s: Annotated[KubernetesDiscovery, "Nodes by Kubernetes"] = KubernetesDiscovery()


class RPC(Struct, frozen=True, kw_only=True):
    """
    C{[rpc]}.
    """

    mode: Annotated[Literal["sync", "async"], "Whether forwarding waits for the other node"] = "async"
    async_batch_size: Annotated[Positive, "Most messages forwarded at once"] = 256
    tcp_server_port: Annotated[Port, "Port here"] = 5369
    tcp_client_port: Annotated[Port, "Port there"] = 5369
    tcp_client_num: Annotated[Positive, "Connections to each node"] = 32
    connect_timeout: Annotated[Duration, "Time to connect"] = 5.0
    send_timeout: Annotated[Duration, "Time to send"] = 5.0
    authentication_timeout: Annotated[Duration, "Time to authenticate"] = 5.0
    call_receive_timeout: Annotated[Duration, "Time to answer"] = 15.0
    socket_keepalive_idle: Annotated[Duration, "Silence before the first probe"] = 900.0
    socket_keepalive_interval: Annotated[Duration, "Time between probes"] = 75.0
    socket_keepalive_count: Annotated[Positive, "Probes without answer before the connection is closed"] = 9
    socket_sndbuf: Annotated[Size, "Size of the kernel's send buffer"] = MB
    socket_recbuf: Annotated[Size, "Size of the kernel's receive buffer"] = MB
    socket_buffer: Annotated[Size, "Size of the buffer above the kernel's"] = MB
