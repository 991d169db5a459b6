"""
Tests for L{twisted_mqtt.net.tls.options}.
"""

from msgspec import Struct

from gateways.stomp.settings import StompTLS
from twisted_mqtt.config.schema_listeners import TLSListener
from twisted_mqtt.config.values import Bind
from twisted_mqtt.net.tls.options import TLSOptions, optionsOf


def test_keys() -> None:
    """
    Each key of TLS that a table has comes to be an option.
    """
    table = TLSListener(
        name="x",
        bind=Bind("127.0.0.1", 0),
        tls_versions=("tlsv1.3",),
        handshake_timeout=3.0,
        keyfile="key",
        certfile="cert",
        cacertfile="ca",
        crlfile="crl",
        dhfile="dh",
        verify="verify_peer",
        fail_if_no_peer_cert=True,
        ciphers=("A",),
        psk_ciphers=("B",),
        secure_renegotiate=True,
        reuse_sessions=False,
        honor_cipher_order=False,
    )
    assert optionsOf(table, table.path, (b"mqtt",)) == TLSOptions(
        "listener.ssl.x",
        certfile="cert",
        keyfile="key",
        cacertfile="ca",
        crlfile="crl",
        dhfile="dh",
        verify=True,
        requireCertificate=True,
        versions=("tlsv1.3",),
        ciphers=("A",),
        pskCiphers=("B",),
        serverOrder=False,
        renegotiation=True,
        resumption=False,
        handshakeTimeout=3.0,
        protocols=(b"mqtt",),
    )


def test_otherKeys() -> None:
    """
    A table has other keys too, and need not have all of TLS: what it does not say is as usual.
    """
    assert optionsOf(StompTLS(certfile="c", keyfile="k"), "stomp.ssl") == TLSOptions(
        "stomp.ssl", certfile="c", keyfile="k", verify=False
    )


def test_client() -> None:
    """
    A client's table has the name of its server.
    """

    class Table(Struct):
        server_name_indication: str | None
        cacertfile: str

    options = optionsOf(Table("broker.example", "ca"), "bridge")
    assert options == TLSOptions("bridge", cacertfile="ca", serverName="broker.example")
    assert options.files == ["ca"]
