"""
Rules between keys: each value is valid by itself, but not together with another one.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted_mqtt.config.forms import FILE, unknownCiphers
from twisted_mqtt.config.grammar import Unfit
from twisted_mqtt.config.problems import nearest
from twisted_mqtt.config.registry import IDeclaration, Registry
from twisted_mqtt.config.schema_listeners import (
    AnyListener,
    SecureListener,
    SecureWebSocketListener,
    TCPListener,
    TLSListener,
)
from twisted_mqtt.config.settings import Settings
from twisted_mqtt.config.source import Path, Source
from twisted_mqtt.config.values import Bind
from twisted_mqtt.config.zones import USUAL_ZONES


def check(settings: Settings, source: Source, registry: Registry[IDeclaration]) -> None:
    """
    Note in the source what does not fit together.

    A table with a problem of its own is left alone: what is wrong there would only be said twice.
    """
    sound = [listener for listener in settings.listener if not source.faulty(_path(listener))]
    for listener in sound:
        _zoneExists(settings, source, (*_path(listener), "zone"), listener.zone)
        _admitsSomebody(source, listener)
        if isinstance(listener, TLSListener | SecureWebSocketListener):
            _tlsFits(source, listener)
        elif isinstance(listener, TCPListener):
            _proxyKnows(source, listener)
    for name, table in settings.extensions.items():
        declaration = registry.find(name)
        path = tuple(declaration.table.split(".")) if declaration else (name,)
        if isinstance(zone := getattr(table, "zone", None), str) and not source.faulty(path):
            _zoneExists(settings, source, (*path, "zone"), zone)
    _zonesAreUsed(settings, source)
    _addressesDiffer(source, sound)
    _watermarksFit(settings, source)
    if source.faulty(("persistence",)):
        return
    _retainerHasDisk(settings, source)
    if settings.persistence.commit == "interval" and not settings.persistence.interval:
        source.problem(("persistence", "interval"), 0, 'must be more than 0 with commit = "interval"')


def _retainerHasDisk(settings: Settings, source: Source) -> None:
    retainer = settings.extensions.get("retainer")
    kind = getattr(retainer, "storage_type", None)
    if kind == "disc_only" and settings.persistence.store == "memory" and not source.faulty(("retainer",)):
        source.problem(("retainer", "storage_type"), kind, 'needs a disk: persistence.store = "sqlite"')


def _path(listener: AnyListener) -> Path:
    return ("listener", listener.listenerKind, listener.name)


def _zoneExists(settings: Settings, source: Source, path: Path, zone: str) -> None:
    if zone not in settings.zone:
        close = nearest(zone, settings.zone)
        advice = f'the nearest is "{close}"' if close else f"there are {', '.join(sorted(settings.zone))}"
        source.problem(path, zone, f"there is no such zone; {advice}")


def _zonesAreUsed(settings: Settings, source: Source) -> None:
    """
    Check that a zone that nothing uses is not one that is, misspelt: its options would silently not hold.
    """
    used = {listener.zone for listener in settings.listener} | set(USUAL_ZONES)
    used.update(zone for table in settings.extensions.values() if isinstance(zone := getattr(table, "zone", None), str))
    if source.faulty(("listener",)):
        return
    for zone in settings.zone:
        if zone in used or source.faulty(("zone", zone)):
            continue
        close = nearest(zone, used)
        if close:
            source.problem(("zone", zone), None, f'no listener and no gateway uses this zone; the nearest is "{close}"')
        else:
            source.warnings.append(f"[zone.{zone}] has no effect: no listener and no gateway uses this zone")


def _admitsSomebody(source: Source, listener: AnyListener) -> None:
    if not listener.access:
        source.problem((*_path(listener), "access"), [], 'must have a rule, such as "allow all"')
    elif not any(rule.allow for rule in listener.access):
        source.problem((*_path(listener), "access"), None, 'must have a rule that allows somebody, such as "allow all"')
    if not listener.allowed_protocol_versions:
        source.problem((*_path(listener), "allowed_protocol_versions"), [], "must have a version: 3, 4 or 5")


def _tlsFits(source: Source, listener: SecureListener) -> None:
    """
    Check the TLS keys of a listener.
    """
    path = ("listener", listener.listenerKind, listener.name)
    if listener.ciphers and listener.psk_ciphers:
        source.problem((*path, "psk_ciphers"), None, "cannot stand beside ciphers: give one of them")
    if not listener.tls_versions:
        source.problem((*path, "tls_versions"), [], 'must have a version, such as "tlsv1.2"')
    if listener.verify == "verify_peer" and not listener.cacertfile:
        source.problem((*path, "verify"), listener.verify, "needs cacertfile, the authorities to check against")
    if listener.verify != "verify_peer":
        if listener.fail_if_no_peer_cert:
            source.problem((*path, "fail_if_no_peer_cert"), True, 'needs verify = "verify_peer"')
        if listener.peer_cert_as_username:
            source.problem(
                (*path, "peer_cert_as_username"), listener.peer_cert_as_username, 'needs verify = "verify_peer"'
            )
    if not listener.psk_ciphers:
        # A value that stands in the file was looked at when it was read; this is for the defaults.
        for key in ("certfile", "keyfile"):
            try:
                FILE.parse(getattr(listener, key))
            except Unfit as unfit:
                source.problem((*path, key), getattr(listener, key), str(unfit))
    for key in ("ciphers", "psk_ciphers"):
        chosen: tuple[str, ...] = getattr(listener, key)
        unknown = unknownCiphers(chosen)
        if unknown and len(unknown) == len(chosen):
            source.problem((*path, key), ",".join(chosen), "must have a cipher suite that the OpenSSL here knows")
        elif unknown:
            source.warnings.append(f"{listener.path}.{key}: the OpenSSL here has no {', '.join(unknown)}")


def _proxyKnows(source: Source, listener: TCPListener) -> None:
    """
    Check that a listener without TLS can learn what it is to take as the user name.
    """
    part = listener.peer_cert_as_username
    path = (*_path(listener), "peer_cert_as_username")
    if part and not listener.proxy_protocol:
        source.problem(
            path, part, "needs proxy_protocol = true: without TLS only a proxy knows the client's certificate"
        )
    elif part == "crt":
        source.problem(path, part, 'must be "cn": a PROXY header brings the common name of a certificate alone')


def _addressesDiffer(source: Source, listeners: Iterable[AnyListener]) -> None:
    """
    Check that no two listeners want one address.
    """
    taken: list[tuple[Bind, AnyListener]] = []
    for listener in listeners:
        for bind, other in taken:
            if clash(bind, listener.bind):
                source.problem(
                    (*_path(listener), "bind"), str(listener.bind), f"{other.path} listens there; choose another"
                )
        taken.append((listener.bind, listener))


def clash(one: Bind, other: Bind) -> bool:
    """
    Whether two ports of a kind can't be open at once, by their addresses.
    """
    if one.path or other.path:
        return one.path == other.path
    if one.port != other.port or not one.port:
        return False
    everywhere = ("0.0.0.0", "::")
    return one.host == other.host or one.host in everywhere or other.host in everywhere


def _watermarksFit(settings: Settings, source: Source) -> None:
    for table, high, low in (
        ("os_mon", "cpu_high_watermark", "cpu_low_watermark"),
        ("os_mon", "disk_high_watermark", "disk_low_watermark"),
        ("vm_mon", "process_high_watermark", "process_low_watermark"),
    ):
        monitor = getattr(settings, table)
        if not source.faulty((table,)) and getattr(monitor, low) > getattr(monitor, high):
            source.problem((table, low), None, f"must not be above {high}")
