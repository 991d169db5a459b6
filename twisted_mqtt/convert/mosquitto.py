"""
Mosquitto 2: C{mosquitto.conf} and the files of its C{include_dir}. Some options are those of the listener before them;
those of a bridge come after its C{connection}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from twisted_mqtt.config.grammar import DURATION
from twisted_mqtt.convert.accessrules import fromLines
from twisted_mqtt.convert.result import Result, nameOf
from twisted_mqtt.convert.sources import ConversionError, Line, filesIn, located, textOf, words

#: The options of a listener.
_OF_LISTENER: Final = frozenset(
    "bind_interface cafile capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile http_dir keyfile max_connections "
    "max_qos max_topic_alias mount_point protocol psk_hint require_certificate socket_domain tls_engine "
    "tls_engine_kpass_sha1 tls_keyform tls_version use_identity_as_username use_subject_as_username "
    "use_username_as_clientid websockets_origin".split()
)
#: Those that are of one listener with C{per_listener_settings true}.
_ACCESS: Final = frozenset(
    "acl_file allow_anonymous allow_zero_length_clientid auth_plugin auto_id_prefix password_file plugin "
    "psk_file".split()
)
_OF_BRIDGE: Final = frozenset(
    "address addresses cleansession idle_timeout keepalive_interval notification_topic notifications "
    "notifications_local_only password remote_clientid remote_password remote_username restart_timeout round_robin "
    "start_type threshold topic try_private username".split()
)
#: Keys that are ours by another name, with how their value is written.
_SAME: Final = {
    "max_queued_bytes": ("zone.external.max_mqueue_bytes", "number"),
    "max_queued_messages": ("zone.external.max_mqueue_len", "number"),
    "queue_qos0_messages": ("zone.external.mqueue_store_qos0", "flag"),
    "retain_available": ("mqtt.retain_available", "flag"),
    "upgrade_outgoing_qos": ("zone.external.upgrade_qos", "flag"),
    "sys_interval": ("broker.sys_interval", "seconds"),
}
_REASONS: Final = {
    "allow_zero_length_clientid": "a client without an identifier is given one",
    "auth_plugin": "programs made for Mosquitto can't be loaded",
    "auth_plugin_deny_special_chars": "programs made for Mosquitto can't be loaded",
    "auto_id_prefix": "the identifier that a client is given can't be chosen",
    "autosave_interval": "the store writes each change when it is made; see persistence.commit",
    "autosave_on_changes": "the store writes each change when it is made; see persistence.commit",
    "bind_interface": "name the address of the interface in the listener's bind",
    "capath": "the authorities stand in one file, cacertfile",
    "check_retain_source": "the rights of whoever published are looked at when he publishes",
    "ciphers_tls1.3": "the suites of TLS 1.3 are those of OpenSSL",
    "clientid_prefixes": "which client identifiers may come can't be said yet",
    "http_dir": "files are not served",
    "log_facility": "with log.to = console, systemd passes the log on to syslog",
    "log_timestamp": "each line has its time",
    "log_timestamp_format": "each line has its time in ISO 8601",
    "max_inflight_bytes": "the messages on their way to a client are counted, not their bytes",
    "max_keepalive": "a longest keep-alive can't be said; server_keepalive of a zone would impose one on all",
    "password_file": "there is no extension yet that lets clients in by names and passwords",
    "persistence_file": "the file of Mosquitto can't be read",
    "persistence_location": "the file of Mosquitto can't be read; the folder for ours is node.data_dir",
    "pid_file": "it is said to twistd: --pidfile",
    "plugin": "programs made for Mosquitto can't be loaded",
    "psk_hint": "a hint is not sent to clients",
    "socket_domain": "name the address in the listener's bind",
    "tls_engine": "keys come from files alone",
    "tls_engine_kpass_sha1": "keys come from files alone",
    "tls_keyform": "keys come from files alone",
    "user": "whoever starts the broker says so: the systemd unit, or twistd --uid",
    "websockets_headers_size": "the headers of a request have a fixed limit",
    "websockets_log_level": "the log has one level for all",
}
#: Values that say what holds here anyway.
_ANYWAY: Final = {
    "allow_zero_length_clientid": "true",
    "log_timestamp": "true",
    "max_inflight_bytes": "0",
    "max_keepalive": "65535",
    "websockets_headers_size": "0",
    "websockets_log_level": "0",
}
_TLS_VERSIONS: Final = ("tlsv1.1", "tlsv1.2", "tlsv1.3")
_UNITS: Final = {"h": 3600, "d": 86400, "w": 7 * 86400, "m": 30 * 86400, "y": 365 * 86400}
_LEVELS: Final = ("debug", "information", "notice", "warning", "error")
_OUR_LEVEL: Final = {"information": "info"}
_FOREVER: Final = "49710d"
_LARGEST: Final = "256MB"


class _Listener(Struct):
    """
    A listener as the file has it.

    @ivar line: of C{listener}; C{None} for the one that needs no line.
    """

    line: Line | None
    port: int
    host: str = ""
    options: dict[str, Line] = field(default_factory=dict)


class _Reading:
    def __init__(self, path: Path, result: Result) -> None:
        self._path = path
        self._result = result
        self._default = _Listener(None, 1883)
        self._listeners: list[_Listener] = []
        self._perListener = False
        self._said: dict[str, Line] = {}
        self._logs: list[Line] = []
        self._types: list[Line] = []
        self._zones: list[str] = []

    def run(self) -> None:
        """
        Read everything, then make what hangs together.
        """
        current = self._default
        bridge = False
        for line in self._lines(self._path, 0):
            key = line.key
            if key == "listener":
                current, bridge = self._listener(line), False
            elif key == "connection":
                bridge = True
                self._result.lost(line, "there are no bridges yet")
            elif bridge and (key in _OF_BRIDGE or key.startswith(("bridge_", "remote_", "local_"))):
                self._result.lost(line, "there are no bridges yet")
            elif key in _OF_LISTENER or (key in _ACCESS and self._perListener):
                self._again(current.options.get(key), line)
                current.options[key] = line
            elif key in ("port", "bind_address"):
                self._default.options[key] = line
                self._default.line = line
            elif key == "log_dest":
                self._logs.append(line)
            elif key == "log_type":
                self._types.append(line)
            else:
                if key == "per_listener_settings":
                    self._perListener = line.value == "true"
                self._again(self._said.get(key), line)
                self._said[key] = line
        self._makeListeners()
        for line in self._said.values():
            self._option(line)
        self._makeLog()
        self._makeAccess()
        self._makeDefaults()

    def _lines(self, path: Path, depth: int) -> Iterator[Line]:
        name = path.name if depth == 0 else f"{path.parent.name}/{path.name}"
        for line in self._result.lines(words(textOf(path), name)):
            if line.key != "include_dir":
                yield line
            elif depth:
                # Mosquitto reads none of such a folder either.
                self._result.lost(line, "a file of a folder names no other folder")
            else:
                folder = located(line.value, self._path)
                if folder is None:
                    raise ConversionError(f"{name}:{line.number}: there is no folder {line.value}")
                for file in filesIn(folder):
                    yield from self._lines(file, depth + 1)

    def _again(self, before: Line | None, line: Line) -> None:
        if before is not None:
            self._result.changed(before, f"{line.file}:{line.number} says it again, and holds")

    def _listener(self, line: Line) -> _Listener:
        port, _, host = line.value.partition(" ")
        made = _Listener(line, int(port) if re.fullmatch("[0-9]{1,5}", port) else -1, host.strip())
        if made.port < 0 or made.port > 65535:
            self._result.lost(line, "its port is no number from 0 to 65535")
        else:
            self._listeners.append(made)
        return made

    def _makeListeners(self) -> None:
        default = self._default
        if "port" in default.options or "bind_address" in default.options or not self._listeners:
            port = default.options.get("port")
            if port is not None and re.fullmatch("[0-9]{1,5}", port.value) and int(port.value) < 65536:
                default.port = int(port.value)
            if (address := default.options.get("bind_address")) is not None:
                default.host = address.value
            self._listeners.insert(0, default)
        else:
            for line in default.options.values():
                self._result.lost(line, "it stands before the first listener, so it is of none")
        for line in default.options.values():
            if line.key == "port":
                self._result.agree(line)
        # Who configures nothing is let in from this machine alone.
        self._local = default.line is None and self._listeners == [default]
        names: list[str] = []
        for listener in self._listeners:
            kind = self._kind(listener)
            name = nameOf(
                "external" if f"{kind}.external" not in names else f"port{listener.port}",
                [each.partition(".")[2] for each in names if each.startswith(f"{kind}.")],
            )
            names.append(f"{kind}.{name}")
            self._makeListener(listener, kind, name)

    def _kind(self, listener: _Listener) -> str:
        secure = "certfile" in listener.options or "psk_hint" in listener.options
        protocol = listener.options.get("protocol")
        if listener.port == 0 and listener.host:
            return "unix"
        if protocol is not None and protocol.value == "websockets":
            return "wss" if secure else "ws"
        return "ssl" if secure else "tcp"

    def _makeListener(self, listener: _Listener, kind: str, name: str) -> None:
        result, line = self._result, listener.line
        table = ("listener", kind, name)
        host = f"[{listener.host}]" if ":" in listener.host else listener.host
        if kind == "unix":
            bind: object = listener.host
        elif self._local:
            bind = f"127.0.0.1:{listener.port}"
        else:
            bind = f"{host}:{listener.port}" if host else listener.port
            if not host and line is not None:
                result.changed(
                    line, 'a port alone means every IPv4 address; for IPv6, "[::]:port" has a listener of its own'
                )
        result.put((*table, "bind"), bind, line, "where Mosquitto listens if nothing is said")
        for option in listener.options.values():
            self._listenerOption(option, table, listener)

    def _zone(self, table: tuple[str, ...], line: Line) -> str:
        """
        The zone of a listener with options of its own.
        """
        path = (*table, "zone")
        zone = self._result.get(path)
        if not isinstance(zone, str):
            zone = nameOf(f"{table[1]}-{table[2]}", ("external", "internal"))
            self._result.put(path, zone, line)
            self._zones.append(zone)
        return zone

    def _listenerOption(self, line: Line, table: tuple[str, ...], listener: _Listener) -> None:
        result, key, value = self._result, line.key, line.value
        files = {"cafile": "cacertfile", "certfile": "certfile", "keyfile": "keyfile", "crlfile": "crlfile"}
        if key in files or key == "dhparamfile":
            found = located(value, self._path)
            result.put((*table, files.get(key, "dhfile")), str(found) if found else value, line)
        elif key == "max_connections":
            if value.startswith("-"):
                result.lost(line, "no limit can't be said; the default is more than a process can have")
            else:
                result.put((*table, "max_connections"), _number(value), line)
        elif key == "mount_point":
            result.put(("zone", self._zone(table, line), "mountpoint"), value, line)
        elif key == "max_qos":
            result.put(("zone", self._zone(table, line), "max_qos_allowed"), _number(value), line)
        elif key == "max_topic_alias":
            result.put(("zone", self._zone(table, line), "max_topic_alias"), _number(value), line)
        elif key == "use_username_as_clientid":
            result.put(("zone", self._zone(table, line), "use_username_as_clientid"), _flag(value), line)
        elif key == "allow_anonymous":
            result.put(("zone", self._zone(table, line), "allow_anonymous"), _flag(value), line)
        elif key == "protocol":
            if value in ("mqtt", "websockets"):
                result.agree(line)
            else:
                result.lost(line, "protocols are mqtt and websockets")
        elif key == "require_certificate":
            if _flag(value) is True:
                result.put((*table, "verify"), "verify_peer", line)
                result.put((*table, "fail_if_no_peer_cert"), True, line)
            else:
                result.agree(line)
        elif key == "use_identity_as_username":
            self._identity(line, table, listener, "cn")
        elif key == "use_subject_as_username":
            self._identity(line, table, listener, "dn")
        elif key == "tls_version":
            if value in _TLS_VERSIONS:
                result.put((*table, "tls_versions"), list(_TLS_VERSIONS[_TLS_VERSIONS.index(value) :]), line)
            else:
                result.put((*table, "tls_versions"), value, line)
        elif key == "ciphers":
            psk = "psk_hint" in listener.options
            result.put((*table, "psk_ciphers" if psk else "ciphers"), re.split("[:, ]+", value), line)
        elif key == "psk_hint":
            if "ciphers" not in listener.options:
                result.put(
                    (*table, "psk_ciphers"), ["PSK-AES128-CBC-SHA", "PSK-AES256-CBC-SHA", "PSK-AES128-GCM-SHA256"], line
                )
            result.changed(line, _REASONS[key])
        elif key == "websockets_origin":
            result.put((*table, "allowed_origins"), [value], line)
        elif key in _ACCESS and key not in ("acl_file", "psk_file"):
            result.lost(line, _REASONS[key])
        elif key in ("acl_file", "psk_file", "port", "bind_address"):
            # Together with the access rules, the keys, the address.
            result.agree(line)
        else:
            result.lost(line, _REASONS.get(key, "it has no counterpart here"))

    def _identity(self, line: Line, table: tuple[str, ...], listener: _Listener, part: str) -> None:
        if _flag(line.value) is not True:
            self._result.agree(line)
        elif "psk_hint" in listener.options:
            self._result.lost(line, "the identity of a pre-shared key can't be the user name yet")
        else:
            self._result.put((*table, "peer_cert_as_username"), part, line)
            self._result.changed(
                line, "the client is not let in by that alone: it is anonymous unless an extension knows it"
            )

    def _option(self, line: Line) -> None:
        result, key, value = self._result, line.key, line.value
        if _ANYWAY.get(key) == value:
            result.agree(line)
        elif key in _SAME:
            path, form = _SAME[key]
            result.put(
                path, _flag(value) if form == "flag" else f"{value}s" if form == "seconds" else _number(value), line
            )
        elif key == "max_inflight_messages":
            result.put("zone.external.max_inflight", _number(value) or 65535, line)
        elif key == "max_packet_size":
            result.put("mqtt.max_packet_size", _number(value) or _LARGEST, line)
        elif key == "message_size_limit":
            limit = _number(value)
            if isinstance(limit, int) and limit and "max_packet_size" not in self._said:
                result.put("mqtt.max_packet_size", limit + 65536, line)
                result.changed(
                    line, "the limit is for the whole packet, so 64 KB for its topic and properties are added"
                )
            elif limit:
                result.lost(line, "the limit is for the whole packet: max_packet_size says it")
            else:
                result.agree(line)
        elif key == "memory_limit":
            if _number(value):
                result.put("node.memory_limit", _number(value), line)
                result.changed(line, "it is the memory of the whole process; above 80 % of it new sessions are refused")
            else:
                result.agree(line)
        elif key == "persistent_client_expiration":
            self._expiration(line)
        elif key in ("persistence", "retained_persistence"):
            result.put("persistence.store", "sqlite" if _flag(value) is True else "memory", line)
        elif key == "set_tcp_nodelay":
            if _flag(value) is False:
                result.lost(line, "nodelay is true; each listener may say otherwise")
            else:
                result.agree(line)
        elif key == "connection_messages":
            if _flag(value) is False:
                result.put("log.client_lines", "none", line)
            else:
                result.agree(line)
        elif key == "allow_anonymous":
            result.put("allow_anonymous", _flag(value), line)
        elif key == "psk_file":
            self._keys(line)
        elif key in ("per_listener_settings", "acl_file"):
            # Together with the access rules.
            result.agree(line)
        elif key.startswith(("auth_opt_", "plugin_opt_")):
            result.lost(line, "programs made for Mosquitto can't be loaded")
        else:
            result.lost(line, _REASONS.get(key, "it is no option that is known here"))

    def _expiration(self, line: Line) -> None:
        found = re.fullmatch("([0-9]{1,6})([hdwmy])", line.value)
        if found is None:
            self._result.lost(line, "it is no number with h, d, w, m or y")
            return
        written = DURATION.write(int(found[1]) * _UNITS[found[2]])
        self._result.put("zone.external.session_expiry_interval", written, line)
        self._result.put("mqtt.max_session_expiry_interval", written, line)

    def _keys(self, line: Line) -> None:
        found = located(line.value, self._path)
        self._result.put("psk.file.path", str(found) if found else line.value, line)
        self._result.load("psk_file", line)

    def _makeLog(self) -> None:
        result, kinds = self._result, set[str]()
        for line in self._logs:
            first, _, rest = line.value.partition(" ")
            if first == "file":
                result.changed(line, f"the log goes to a file of its own: log.dir and log.file, not {rest}")
                kinds.add("file")
            elif first in ("stdout", "stderr"):
                kinds.add("console")
            elif first == "none":
                kinds.add("off")
            elif first == "syslog":
                kinds.add("console")
                result.changed(line, "it goes to the console, from where systemd passes it on")
            else:
                result.lost(line, "the log goes to a file, to the console, to both or nowhere")
                continue
            result.agree(line)
        if kinds and self._logs:
            to = "both" if {"file", "console"} <= kinds else "file" if "file" in kinds else "console"
            result.put("log.to", to if kinds != {"off"} else "off", self._logs[-1])
        named = [line for line in self._types if line.value in (*_LEVELS, "all")]
        for line in self._types:
            if line in named or line.value == "none":
                result.agree(line)
            else:
                result.lost(line, f"the log has levels only: {', '.join(_LEVELS)}")
        if named:
            lowest = min(named, key=lambda line: -1 if line.value == "all" else _LEVELS.index(line.value))
            level = "debug" if lowest.value == "all" else _OUR_LEVEL.get(lowest.value, lowest.value)
            result.put("log.level", level, lowest)

    def _makeAccess(self) -> None:
        result = self._result
        if not self._perListener and "allow_anonymous" not in self._said:
            result.put("allow_anonymous", self._local, None, "what holds in Mosquitto if nothing is said")
        if self._perListener:
            result.put("allow_anonymous", False, None, "what holds in Mosquitto if nothing is said")
            for listener in self._listeners:
                if (keys := listener.options.get("psk_file")) is not None:
                    self._keys(keys)
        own = [line for each in self._listeners if (line := each.options.get("acl_file")) is not None]
        line = self._said.get("acl_file") if not own else own[0]
        if line is None:
            if not self._local:
                result.needNoRules(Line(self._path.name, 0, "", ""), "Mosquitto")
            return
        if len({line.value for line in own}) > 1 or 0 < len(own) < len(self._listeners):
            self._result.withoutRules(line, "listeners have different access rules; here all have the same")
            return
        found = located(line.value, self._path)
        if found is None:
            self._result.withoutRules(line, f"there is no file {line.value}")
            return
        anonymous = result.get("allow_anonymous") is True or any(
            path[0] == "zone" and value is True for path, value in result.having("allow_anonymous")
        )
        result.rules = fromLines(textOf(found), found.name, result, "anonymous" if anonymous else "nobody")
        result.rulesLine = line

    def _makeDefaults(self) -> None:
        """
        What Mosquitto does without a line, and this broker does otherwise.
        """
        result, why = self._result, "Mosquitto's default"
        for path, value in (
            ("mqtt.max_packet_size", _LARGEST),
            ("mqtt.max_topic_alias", 10),
            ("zone.external.max_inflight", 20),
            ("zone.external.max_mqueue_len", 1000),
            ("zone.external.mqueue_store_qos0", False),
            ("zone.external.session_expiry_interval", _FOREVER),
            ("mqtt.max_session_expiry_interval", 0),
            ("persistence.store", "memory"),
            ("broker.sys_interval", "10s"),
        ):
            if result.get(path) is None:
                result.put(path, value, None, why)
        # A zone of its own has its own values.
        external = result.under(("zone", "external"))
        for zone in self._zones:
            for inner, given in external:
                if result.get(("zone", zone, *inner)) is None:
                    result.put(("zone", zone, *inner), given, None, "as in the zone external")


def convert(path: Path, result: Result) -> None:
    """
    Read C{mosquitto.conf} and the files that it includes.

    @raise ConversionError: a file can't be read; or the access rules can't, without which everything would be allowed.
    """
    _Reading(path, result).run()


def _flag(value: str) -> object:
    """
    A flag; what is none stays as it is, so that the schema refuses it.
    """
    return {"true": True, "false": False, "1": True, "0": False}.get(value.lower(), value)


def _number(value: str) -> int | str:
    return int(value) if re.fullmatch("[0-9]{1,18}", value) else value
