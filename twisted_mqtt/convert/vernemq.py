"""
VerneMQ: C{vernemq.conf} (spec/vernemq.md 2, 3, 11, 16, 26.3). Options of listeners stand at three levels, and the most
specific holds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from twisted_mqtt.config.grammar import DURATION
from twisted_mqtt.convert.accessrules import fromLines
from twisted_mqtt.convert.result import Result, nameOf
from twisted_mqtt.convert.sources import Line, located, pairs, textOf

_KINDS: Final = ("tcp", "ssl", "ws", "wss")
#: Options of listeners, with ours.
_OPTIONS: Final = {
    "max_connections": "max_connections",
    "nr_of_acceptors": "acceptors",
    "mountpoint": "topic_tree",
    "allowed_protocol_versions": "allowed_protocol_versions",
    "proxy_protocol": "proxy_protocol",
    "proxy_protocol_use_cn_as_username": "peer_cert_as_username",
    "cafile": "cacertfile",
    "certfile": "certfile",
    "keyfile": "keyfile",
    "crlfile": "crlfile",
    "dhfile": "dhfile",
    "require_certificate": "verify",
    "use_identity_as_username": "peer_cert_as_username",
    "tls_version": "tls_versions",
    "ciphers": "ciphers",
    "buffer_sizes": "sndbuf",
    "max_connection_lifetime": "max_connection_lifetime",
}
_FILES: Final = ("cafile", "certfile", "keyfile", "crlfile", "dhfile")
#: Options that TLS has and that are none of plain listeners.
_SECURE: Final = (*_FILES, "require_certificate", "use_identity_as_username", "tls_version", "ciphers", "depth")
#: Keys that are ours by another name.
_SAME: Final = {
    "nodename": "node.name",
    "max_client_id_size": "mqtt.max_clientid_len",
    "upgrade_outgoing_qos": "zone.external.upgrade_qos",
    "topic_max_depth": "mqtt.max_topic_levels",
    "log.console": "log.to",
    "log.console.level": "log.level",
}
_REASONS: Final = (
    ("vmq_passwd.", "there is no extension yet that lets clients in by names and passwords"),
    ("vmq_diversity.", "there are no scripts and no databases of clients yet"),
    ("vmq_bcrypt.", "there are no databases of clients yet"),
    ("vmq_webhooks.", "there are no web hooks yet"),
    ("vmq_bridge.", "there are no bridges yet"),
    ("vmq_acl.acl_reload_interval", "mqttbroker-ctl acl reload reads the access rules again"),
    ("plugins.vmq_passwd", "there is no extension yet that lets clients in by names and passwords"),
    ("plugins.", "there is no such extension here"),
    ("distributed_cookie", "this broker runs as a single node"),
    ("listener.vmq.", "this broker runs as a single node"),
    ("listener.vmqs.", "this broker runs as a single node"),
    ("allow_register_during_netsplit", "this broker runs as a single node"),
    ("allow_publish_during_netsplit", "this broker runs as a single node"),
    ("allow_subscribe_during_netsplit", "this broker runs as a single node"),
    ("allow_unsubscribe_during_netsplit", "this broker runs as a single node"),
    ("coordinate_registrations", "this broker runs as a single node"),
    ("remote_enqueue_timeout", "this broker runs as a single node"),
    ("outgoing_clustering_buffer_size", "this broker runs as a single node"),
    ("max_drain_time", "this broker runs as a single node"),
    ("max_msgs_per_drain_step", "this broker runs as a single node"),
    ("leveldb", "the store is SQLite; see [persistence]"),
    ("plumtree.", "this broker runs as a single node"),
    ("metadata_plugin", "this broker runs as a single node"),
    ("erlang.", "only the Erlang VM has such a thing"),
    ("allow_multiple_sessions", "an identifier has one session; shared subscriptions divide messages among clients"),
    ("queue_deliver_mode", "an identifier has one session; shared subscriptions divide messages among clients"),
    ("queue_type", "a queue is always read from its oldest message; a full one loses QoS 0 first, then the oldest"),
    ("suppress_lwt_on_session_takeover", "a will is sent as MQTT says"),
    ("reg_views", "there is one way of routing"),
    ("default_reg_view", "there is one way of routing"),
    ("vmq_reg_view", "there is one way of routing"),
    ("receive_max_", "zone.external.max_inflight and max_awaiting_rel say it"),
    ("log.syslog", "with log.to = console, systemd passes the log on to syslog"),
    ("log.crash", "see node.crash_dump"),
    ("log.error", "errors are in the main log; log.error.file makes a file of their own"),
    ("crl_refresh_interval", "SIGHUP reads the certificates again"),
)
#: What there can be at an HTTP port (spec/vernemq.md 26.1, NEW-05), as C{management.modules} has it.
_MODULES: Final = {
    "vmq_metrics_http": ["metrics"],
    "vmq_http_mgmt_api": ["api_v1", "api_v4"],
    "vmq_status_http": ["status"],
    "vmq_health_http": ["health"],
    "vmq_http_pub": ["publish"],
}
_ADDRESS: Final = re.compile(r":[0-9]{1,5}$")
_UNITS: Final = {"s": 1, "h": 3600, "d": 86400, "w": 7 * 86400, "m": 28 * 86400, "y": 336 * 86400}
_STRATEGIES: Final = ("prefer_local", "local_only", "random")
_FOREVER: Final = "49710d"


class _Reading:
    def __init__(self, path: Path, result: Result) -> None:
        self._path = path
        self._result = result
        self._said: dict[str, Line] = {}

    def run(self) -> None:
        """
        Read everything, then make what hangs together.
        """
        result = self._result
        for line in result.lines(pairs(textOf(self._path), self._path.name)):
            before = self._said.get(line.key)
            if before is not None:
                result.changed(before, f"{line.file}:{line.number} says it again, and holds")
            self._said[line.key] = line
        listeners = {key: line for key, line in self._said.items() if key.startswith("listener.")}
        for key, line in self._said.items():
            if key not in listeners or _reasonOf(key):
                self._option(line)
        self._listeners({key: line for key, line in listeners.items() if not _reasonOf(key)})
        self._rules()
        for path, value in (
            ("allow_anonymous", False),
            ("zone.external.max_inflight", 20),
            ("zone.external.max_online_messages", 1000),
            ("zone.external.max_offline_messages", 1000),
            ("zone.external.session_expiry_interval", _FOREVER),
            ("mqtt.max_session_expiry_interval", 0),
            ("mqtt.max_packet_size", "256MB"),
            ("broker.sys_interval", "20s"),
        ):
            if result.get(path) is None:
                result.put(path, value, None, "VerneMQ's default")

    def _listeners(self, lines: dict[str, Line]) -> None:
        """
        Make the listeners, each with the options of its own, of its kind and of all.
        """
        result = self._result
        made = {
            (kind, name): line
            for key, line in lines.items()
            if len(words := key.split(".")) == 3
            and (kind := words[1]) in (*_KINDS, "http", "https")
            and (name := words[2]) not in _OPTIONS
            # An option of a kind that is not known here has a value of its own.
            and _ADDRESS.search(line.value)
            and name != "depth"
        }
        names: dict[str, list[str]] = {}
        used: set[str] = set()
        for (kind, name), line in made.items():
            used.add(line.key)
            own = {}
            for key in (f"listener.{option}" for option in (*_OPTIONS, "depth")):
                option = key.removeprefix("listener.")
                for where in (key, f"listener.{kind}.{option}", f"listener.{kind}.{name}.{option}"):
                    if where in lines:
                        own[option] = lines[where]
                        used.add(where)
            if kind in ("http", "https"):
                keys = (f"listener.{kind}.{name}.http_modules", f"listener.{kind}.http_modules")
                modules = [lines[key] for key in keys if key in lines]
                used.update(keys)
                self._http(kind, line, modules[0] if modules else None)
                continue
            ours = nameOf(name, names.setdefault(kind, []))
            names[kind].append(ours)
            self._listener(("listener", kind, ours), line, own)
        for key, line in lines.items():
            if key not in used:
                option = key.rpartition(".")[2]
                known = option in _OPTIONS or option == "depth"
                result.lost(line, "no listener has this option" if known else "it is no key that is known here")
        if not made:
            result.put("listener.tcp.default.bind", "127.0.0.1:1883", None, "VerneMQ's default")

    def _http(self, kind: str, line: Line, modules: Line | None) -> None:
        if kind == "https":
            self._result.lost(line, "set management.listener.https with its certificate")
        elif self._result.get("management.listener.http.bind") is not None:
            self._result.lost(line, "there is one management listener")
        else:
            self._result.load("management", line)
            self._result.put("management.listener.http.bind", line.value, line)
            if modules is None:
                there = ["api_v1", "api_v4", "metrics", "status", "health"]
                self._result.put("management.modules", there, None, "what VerneMQ has there, and the REST API of EMQ X")
            else:
                self._modules(modules)
            self._result.changed(
                line, "it needs an application and its secret, as mqttbroker-ctl mgmt insert makes them"
            )

    def _modules(self, line: Line) -> None:
        """
        Take over what there is at the HTTP port, and no more.
        """
        named = [word for word in re.split(r"[\s,\[\]]+", line.value) if word]
        unknown = [word for word in named if word not in _MODULES]
        if unknown:
            self._result.changed(line, f"there is no module here like {', '.join(unknown)}")
        there = [module for word in named for module in _MODULES.get(word, ())]
        self._result.put("management.modules", there, line)

    def _listener(self, table: tuple[str, ...], line: Line, options: dict[str, Line]) -> None:
        result, kind = self._result, table[1]
        result.put((*table, "bind"), line.value, line)
        for option, said in options.items():
            self._listenerOption(table, option, said)
        if "allowed_protocol_versions" not in options:
            result.put((*table, "allowed_protocol_versions"), [3, 4], None, "VerneMQ's default; add 5 for MQTT 5")
        cn = options.get("proxy_protocol_use_cn_as_username")
        proxied = options.get("proxy_protocol")
        if kind in ("tcp", "ws") and proxied is not None and _flag(proxied.value) is True and cn is None:
            result.put((*table, "peer_cert_as_username"), "cn", None, "VerneMQ's default with proxy_protocol")

    def _listenerOption(self, table: tuple[str, ...], option: str, line: Line) -> None:
        result, value = self._result, line.value
        path = (*table, _OPTIONS.get(option, option))
        if option in _SECURE and table[1] not in ("ssl", "wss"):
            result.lost(line, f"listeners of the kind {table[1]} have no TLS")
        elif option == "depth":
            result.lost(line, "how many certificates may stand between a client's and the root can't be said")
        elif option in _FILES:
            found = located(value, self._path)
            if value:
                result.put(path, str(found) if found else value, line)
            else:
                result.agree(line)
        elif option == "max_connections":
            if value == "infinity":
                result.lost(line, "no limit can't be said; the default is more than a process can have")
            else:
                result.put(path, value, line)
        elif option == "mountpoint":
            if value in ("off", ""):
                result.agree(line)
            else:
                result.put(path, value.rstrip("/"), line)
        elif option == "allowed_protocol_versions":
            versions = [version.strip() for version in value.split(",")]
            kept = [version for version in versions if version not in ("131", "132")]
            if kept != versions:
                result.changed(line, "131 and 132 are for bridges, which are let in as other clients are")
            result.put(path, ",".join(kept), line)
        elif option == "require_certificate":
            if _flag(value) is True:
                result.put(path, "verify_peer", line)
                result.put((*table, "fail_if_no_peer_cert"), True, line)
            else:
                result.put(path, "verify_none", line)
        elif option in ("use_identity_as_username", "proxy_protocol_use_cn_as_username"):
            if _flag(value) is True:
                result.put(path, "cn", line)
            else:
                result.agree(line)
        elif option == "ciphers":
            result.put(path, re.split("[:, ]+", value), line)
        elif option == "buffer_sizes":
            sizes = [size.strip() for size in value.split(",")]
            if len(sizes) != 3:
                result.lost(line, "it is not of the form sndbuf,recbuf,buffer")
                return
            result.put((*table, "sndbuf"), sizes[0], line)
            result.put((*table, "recbuf"), sizes[1], line)
            result.changed(line, "the buffer above the kernel's grows and shrinks by itself")
        elif option == "max_connection_lifetime":
            result.put(path, f"{value}s" if _isNumber(value) else value, line)
        else:
            flag = _flag(value)
            result.put(path, flag, line)

    def _option(self, line: Line) -> None:
        result, key, value = self._result, line.key, line.value
        if key in _SAME:
            result.put(_SAME[key], _flag(value) if key == "upgrade_outgoing_qos" else value, line)
        elif key == "allow_anonymous":
            result.put(key, _flag(value), line)
            if _flag(value) is True:
                result.changed(
                    line,
                    "there, no client's password is looked at then; here those who give one are checked, "
                    "as soon as an extension does so",
                )
        elif key == "retry_interval":
            result.put("zone.external.retry_interval", f"{value}s" if _isNumber(value) else value, line)
            result.changed(line, "MQTT clients get a message again when they come back, and only then")
        elif key == "max_inflight_messages":
            result.put("zone.external.max_inflight", "65535" if value == "0" else value, line)
        elif key in ("max_online_messages", "max_offline_messages"):
            if value == "0":
                result.lost(line, "0 means no limit here, and no message at all there")
            else:
                result.put(f"zone.external.{key}", "0" if value == "-1" else value, line)
        elif key == "persistent_client_expiration":
            self._expiration(line)
        elif key == "max_message_size":
            self._largest(line)
        elif key == "max_message_rate":
            result.put("zone.external.publish_limit", f"{value},1s" if value != "0" else "none", line)
        elif key == "max_last_will_delay":
            seconds = _seconds(value)
            if value == "client":
                result.put("mqtt.max_will_delay", 0, line)
            elif seconds:
                result.put("mqtt.max_will_delay", DURATION.write(seconds), line)
            else:
                result.lost(line, "0 means no limit here; a delay can't be refused altogether")
        elif key in ("topic_alias_max_client", "topic_alias_max_broker"):
            before = result.get("mqtt.max_topic_alias")
            number = int(value) if re.fullmatch("[0-9]{1,5}", value) else value
            if not isinstance(before, int) or not isinstance(number, int) or number > before:
                result.discard(("mqtt", "max_topic_alias"))
                result.put("mqtt.max_topic_alias", number, line)
            result.changed(line, "one limit holds for both directions, the larger")
        elif key == "shared_subscription_policy":
            result.put("broker.shared_subscription_strategy", value, line)
        elif key == "systree_enabled":
            if _flag(value) is False:
                result.put("broker.sys_interval", 0, line)
            else:
                result.agree(line)
        elif key == "systree_interval":
            if result.get("broker.sys_interval") == 0:
                result.lost(line, "systree_enabled switches the statistics off")
            else:
                result.put(
                    "broker.sys_interval",
                    # Below 100 ms it would leave no time for clients.
                    DURATION.write(max(int(value), 100 * (int(value) > 0)) / 1000) if _isNumber(value) else value,
                    line,
                )
        elif key.startswith("graphite_"):
            self._graphite(line)
        elif key == "log.console.file":
            result.put("log.file", Path(value).name or value, line)
            result.changed(line, "it is a file of that name in log.dir")
        elif key in ("plugins.vmq_acl", "vmq_acl.acl_file"):
            # Together with the access rules.
            result.agree(line)
        else:
            result.lost(line, _reasonOf(key) or "it is no key that is known here")

    def _graphite(self, line: Line) -> None:
        option, value = line.key.removeprefix("graphite_"), line.value
        switch = self._said.get("graphite_enabled")
        if switch is None or _flag(switch.value) is not True:
            if option == "enabled":
                self._result.agree(line)
            else:
                self._result.lost(line, "graphite_enabled is off")
        elif option == "enabled":
            self._result.load("graphite", line)
        elif option in ("interval", "connect_timeout", "reconnect_timeout") and _isNumber(value):
            self._result.put(f"graphite.{option}", f"{value}ms", line)
        else:
            self._result.put(f"graphite.{option}", value, line)

    def _expiration(self, line: Line) -> None:
        seconds = _seconds(line.value)
        if line.value == "never":
            self._result.put("zone.external.session_expiry_interval", _FOREVER, line)
        elif seconds is None or line.value.endswith("s"):
            self._result.lost(line, "it is neither never nor a number with h, d, w, m or y")
        else:
            self._result.put("zone.external.session_expiry_interval", DURATION.write(seconds), line)

    def _largest(self, line: Line) -> None:
        if not re.fullmatch("[0-9]{1,10}", line.value):
            self._result.lost(line, "it is no number of bytes")
        elif int(line.value):
            self._result.put("mqtt.max_packet_size", int(line.value) + 65536, line)
            self._result.changed(
                line, "the limit is for the whole packet, so 64 KB for its topic and properties are added"
            )
        else:
            self._result.put("mqtt.max_packet_size", "256MB", line)

    def _rules(self) -> None:
        on = self._said.get("plugins.vmq_acl")
        named = self._said.get("vmq_acl.acl_file")
        if on is not None and _flag(on.value) is False:
            self._result.changed(on, "without its rules, those hold that every broker here has")
            return
        if named is None:
            # Its default is the one beside it.
            beside = self._path.absolute().with_name("vmq.acl")
            if not beside.is_file():
                nothing = Line(self._path.name, 0, "", "")
                self._result.changed(nothing, "no access rules are named; those hold that every broker here has")
                return
            named = Line(self._path.name, 0, "vmq_acl.acl_file", str(beside))
        found = located(named.value, self._path)
        if found is not None:
            self._result.rules = fromLines(textOf(found), found.name, self._result, "all")
            self._result.rulesLine = named
        else:
            self._result.withoutRules(named, f"there is no file {named.value}")


def convert(path: Path, result: Result) -> None:
    """
    Read C{vernemq.conf}.

    @raise ConversionError: a file can't be read; or the access rules can't, without which everything would be allowed.
    """
    _Reading(path, result).run()


def _reasonOf(key: str) -> str:
    return next((reason for start, reason in _REASONS if key.startswith(start)), "")


def _flag(value: str) -> object:
    """
    A flag; what is none stays as it is, so that the schema refuses it.
    """
    return {"on": True, "true": True, "off": False, "false": False}.get(value.lower(), value)


def _isNumber(value: str) -> bool:
    return re.fullmatch("[0-9]{1,12}", value) is not None


def _seconds(value: str) -> int | None:
    found = re.fullmatch("([0-9]{1,6})([shdwmy])", value)
    return int(found[1]) * _UNITS[found[2]] if found else None
