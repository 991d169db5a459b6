"""
The keys of ports: every table that opens a port has them, and a key means the same everywhere.

An extension's table has one of these structures as a part of itself, or is made of it:

    class GreeterPort(TCPPortSettings, frozen=True, kw_only=True):
        bind: Annotated[Address | None, "Where the greeter listens"] = Bind("127.0.0.1", 7777)

The types stand by themselves too, for structures that have another ancestor: a msgspec structure has one line of them.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from twisted_mqtt.config.forms import CIPHER_LIST, TLS_VERSION_LIST
from twisted_mqtt.config.grammar import whole
from twisted_mqtt.config.keys import (
    RESTART,
    Access,
    Address,
    Alias,
    Duration,
    File,
    Flag,
    Positive,
    Size,
)
from twisted_mqtt.config.values import AccessRule

# Ports

AccessRules: TypeAlias = Annotated[
    Access,
    "Which addresses may connect; the first rule that names the address decides, and an address without one may not",
]
DatagramAccess: TypeAlias = Annotated[
    Access,
    "Which addresses may send; the first rule that names the address decides, and an address without one may not",
]
Acceptors: TypeAlias = Annotated[Positive, "Connections accepted in one turn of the reactor"]
NoDelay: TypeAlias = Annotated[Flag, RESTART, "Send small packets at once (TCP_NODELAY)"]
TCPKeepAlive: TypeAlias = Annotated[
    Flag, RESTART, "Whether the kernel probes connections on which nothing comes (SO_KEEPALIVE): who is gone is noticed"
]
TCPKeepAliveIdle: TypeAlias = Annotated[Duration, RESTART, "Silence before the first probe (TCP_KEEPIDLE)"]
TCPKeepAliveInterval: TypeAlias = Annotated[Duration, RESTART, "Time between two probes (TCP_KEEPINTVL)"]
TCPKeepAliveCount: TypeAlias = Annotated[
    int, whole(1, 127), RESTART, "Probes without an answer before the connection is cut (TCP_KEEPCNT)"
]
ReuseAddress: TypeAlias = Annotated[Flag, RESTART, "Listen although old connections to the port linger (SO_REUSEADDR)"]
MaxConnections: TypeAlias = Annotated[
    Positive, Alias("max_clients"), "Most connections at once; further ones are closed and counted"
]
MaxConnectionRate: TypeAlias = Annotated[Positive, "Most new connections a second; further ones wait"]
ReceiveBuffer: TypeAlias = Annotated[
    Size | None, RESTART, "Size of the kernel's receive buffer; `none` leaves it to the kernel"
]
SendBuffer: TypeAlias = Annotated[
    Size | None, RESTART, "Size of the kernel's send buffer; `none` leaves it to the kernel"
]

# TLS

TLSVersions: TypeAlias = Annotated[
    tuple[str, ...], TLS_VERSION_LIST, "TLS versions that are spoken: tlsv1, tlsv1.1, tlsv1.2, tlsv1.3"
]
HandshakeTimeout: TypeAlias = Annotated[Duration, "Time for the TLS handshake"]
KeyFile: TypeAlias = Annotated[File, "The server's private key (PEM)"]
CertificateFile: TypeAlias = Annotated[File, "The server's certificate and those between it and the root (PEM)"]
AuthoritiesFile: TypeAlias = Annotated[File | None, "The authorities whose client certificates are accepted (PEM)"]
RevocationFile: TypeAlias = Annotated[File | None, "Certificates that are revoked (PEM)"]
ParametersFile: TypeAlias = Annotated[
    File | None, "Diffie-Hellman parameters (PEM), for clients without elliptic curves"
]
Verify: TypeAlias = Annotated[
    Literal["verify_none", "verify_peer"], "Whether clients are asked for a certificate, and it is checked"
]
RequireCertificate: TypeAlias = Annotated[Flag, "With `verify_peer`: whether a client without a certificate is refused"]
Ciphers: TypeAlias = Annotated[
    tuple[str, ...], CIPHER_LIST, "Cipher suites up to TLS 1.2, best first; empty for OpenSSL's secure choice"
]
PSKCiphers: TypeAlias = Annotated[
    tuple[str, ...], CIPHER_LIST, "Cipher suites with pre-shared keys; not together with `ciphers`"
]
Renegotiate: TypeAlias = Annotated[Flag, "Whether clients may renegotiate a connection"]
ReuseSessions: TypeAlias = Annotated[Flag, "Whether a returning client may resume its TLS session"]
HonorCipherOrder: TypeAlias = Annotated[Flag, "Whether the server's order of cipher suites decides"]
PeerCertificate: TypeAlias = Annotated[
    Literal["cn", "dn", "crt"], "Which part of the client's certificate is its user name"
]
CertificateUsername: TypeAlias = Annotated[
    PeerCertificate | None,
    "Which part of the client's certificate is its user name: common name, whole subject, or the certificate; "
    "needs `verify = verify_peer`",
]

KEY_FILE = "etc/certs/key.pem"
CERTIFICATE_FILE = "etc/certs/cert.pem"


class PortSettings(Struct, frozen=True, kw_only=True):
    """
    The keys of every port for connections.
    """

    bind: Annotated[
        Address | None,
        "Where to listen: a port alone is on every IPv4 address, port 0 any free one; `none` for nowhere",
    ] = None
    max_connections: MaxConnections = 102400
    max_conn_rate: MaxConnectionRate = 1000
    access: AccessRules = (AccessRule(True),)
    acceptors: Acceptors = 8
    proxy_protocol: Annotated[
        Flag, "Whether a load balancer puts a PROXY header, version 1 or 2, before each connection"
    ] = False
    proxy_protocol_timeout: Annotated[Duration, "Time for that header to arrive"] = 3.0
    backlog: Annotated[Positive, RESTART, "Connections waiting in the kernel to be accepted"] = 1024
    send_timeout: Annotated[Duration, "How long a client may read nothing of the bytes that wait for it"] = 15.0
    send_timeout_close: Annotated[Flag, "Whether such a client is disconnected"] = True
    recbuf: ReceiveBuffer = None
    sndbuf: SendBuffer = None


class TCPPortSettings(PortSettings, frozen=True, kw_only=True):
    """
    A port of TCP.
    """

    nodelay: NoDelay = True
    tcp_keepalive: TCPKeepAlive = True
    tcp_keepalive_idle: TCPKeepAliveIdle = 120.0
    tcp_keepalive_interval: TCPKeepAliveInterval = 30.0
    tcp_keepalive_count: TCPKeepAliveCount = 4
    reuseaddr: ReuseAddress = True


class TLSPortSettings(TCPPortSettings, frozen=True, kw_only=True):
    """
    A port of TLS.
    """

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


class DatagramSettings(Struct, frozen=True, kw_only=True):
    """
    The keys of every port for datagrams. The protocol itself limits the number of clients.
    """

    access: DatagramAccess = (AccessRule(True),)
    recbuf: ReceiveBuffer = None
    sndbuf: SendBuffer = None


class UDPPortSettings(DatagramSettings, frozen=True, kw_only=True):
    """
    A port of UDP, with a table of its own.
    """

    bind: Annotated[
        Address | None,
        "Where to listen: a port alone is on every IPv4 address, port 0 any free one; `none` for nowhere",
    ] = None
