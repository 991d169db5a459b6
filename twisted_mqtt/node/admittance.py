"""
Ports at which nobody can come in, as is easily configured without meaning it: they answer every client with a refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted_mqtt.config.schema_listeners import SecureListener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_mqtt.node.service import BrokerService


# As this account of STOMP, nobody comes in from another machine.
_KNOWN: Final = ("guest", "guest")


def shutPorts(service: BrokerService) -> Iterator[str]:
    """
    A sentence for each port that other machines can reach and at which every client is refused: clients without
    credentials are not welcome there, nothing that is loaded checks credentials, and none can show a certificate or a
    key. It names what helps.
    """
    broker = service.broker
    if _somebodyAsks(service):
        return
    for name, listening in service.ports.items():
        table = _tableOf(service, name)
        zone = getattr(table, "zone", None)
        if table is None or zone is None or not listening.isOpen or listening.address.isLoopback:
            continue
        if broker.settings.resolveZone(zone).allowsAnonymous(False) or getattr(table, "allow_anonymous", False):
            continue
        account = getattr(table, "default_user", None)
        if account is not None and account.login and (account.login, account.passcode) != _KNOWN:
            continue
        if _canProve(table, listening.kind, bool(broker.preSharedKeys)):
            continue
        yield (
            f"{listening.path} at {listening.address} lets nobody in: clients without credentials are welcome on"
            " loopback addresses alone, and nothing is loaded that checks credentials. Load an extension that"
            " authenticates clients (plugins.load), ask for client certificates or pre-shared keys (docs/tls.md), or,"
            f" to let everybody in, set zone.{zone}.allow_anonymous = true"
        )


def _somebodyAsks(service: BrokerService) -> bool:
    hooks = service.broker.hooks
    for point in (hooks.clientAuthenticate, hooks.clientEnhancedAuthenticate):
        for registration in point:
            # STOMP asks about its own account only, see below.
            if not getattr(registration.action, "__module__", "").startswith("gateways."):
                return True
    return False


def _tableOf(service: BrokerService, name: str) -> object:
    """
    The table with the zone of a port: that of its listener, or of its gateway; L{None} for others, such as HTTP.
    """
    opened = service.listeners.opened.get(name)
    if opened is not None:
        return opened.listener
    return service.settings.current.extensions.get(name.partition(".")[0])


def _canProve(table: object, kind: str, keys: bool) -> bool:
    """
    Whether a client can show a certificate that is checked, or a key.
    """
    if isinstance(table, SecureListener):
        return table.verify == "verify_peer" or (bool(table.psk_ciphers) and keys)
    if kind not in ("ssl", "wss", "dtls"):
        return False
    inner = getattr(table, "dtls" if kind == "dtls" else "ssl", table)
    return getattr(inner, "verify", "") == "verify_peer" or (kind == "dtls" and keys)
