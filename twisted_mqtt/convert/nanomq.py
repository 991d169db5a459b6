"""
NanoMQ: C{nanomq.conf} as HOCON, and the older flat form C{key=value} (spec/rest-api-nanomq.md 3.11, 3.12). Both come
to the same words, which one table makes ours.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted_mqtt.auth.aclfile import ACLProblem, parseRules
from twisted_mqtt.config.hocon import Document, HOCONError, Spot, Value
from twisted_mqtt.config.hocon import parse as parseHOCON
from twisted_mqtt.convert.accessrules import fromNanoMQ
from twisted_mqtt.convert.result import Result, nameOf
from twisted_mqtt.convert.sources import ConversionError, Line, located, pairs, textOf

#: Keys of the flat form, as HOCON has them.
_OLD: Final = {
    "property_size": "mqtt.property_size",
    "max_packet_size": "mqtt.max_packet_size",
    "client_max_packet_size": "mqtt.client_max_packet_size",
    "msq_len": "mqtt.max_mqueue_len",
    "qos_duration": "mqtt.retry_interval",
    "keepalive_backoff": "mqtt.keepalive_backoff",
    "allow_anonymous": "auth.allow_anonymous",
    "acl_nomatch": "auth.no_match",
    "acl_deny_action": "auth.deny_action",
    "acl_enable": "auth.enable_acl",
    "enable_acl_cache": "auth.cache.enable",
    "acl_cache_max_size": "auth.cache.max_size",
    "acl_cache_ttl": "auth.cache.ttl",
    "url": "listeners.tcp.bind",
    "tls.url": "listeners.ssl.bind",
    "websocket.url": "listeners.ws.bind",
    "websocket.tls_url": "listeners.wss.bind",
}
#: Keys that are ours by another name.
_SAME: Final = {
    "mqtt.max_mqueue_len": "zone.external.max_mqueue_len",
    "mqtt.max_inflight_window": "zone.external.max_inflight",
    "mqtt.await_rel_timeout": "zone.external.await_rel_timeout",
    "auth.allow_anonymous": "allow_anonymous",
    "auth.no_match": "acl_nomatch",
    "auth.enable_acl": "zone.external.enable_acl",
    "auth.deny_action": "zone.external.acl_deny_action",
    "auth.cache.enable": "enable_acl_cache",
    "auth.cache.max_size": "acl_cache_max_size",
    "auth.cache.ttl": "acl_cache_ttl",
    "log.rotation.size": "log.rotation.size",
    "log.rotation.count": "log.rotation.count",
    "log.file": "log.file",
}
_LEVELS: Final = {"trace": "debug", "warn": "warning", "fatal": "critical"}
_REASONS: Final = (
    ("mqtt.property_size", "properties are limited by the packet alone"),
    ("mqtt.max_awaiting_rel", "it is a time there, and a number of messages here"),
    ("system.", "the broker has one thread for its clients"),
    ("num_taskq_thread", "the broker has one thread for its clients"),
    ("max_taskq_thread", "the broker has one thread for its clients"),
    ("parallel", "the broker has one thread for its clients"),
    ("daemon", "twistd says it: --nodaemon"),
    ("enable_ipc_internal", "mqttbroker-ctl uses a UNIX socket in node.data_dir"),
    ("sqlite.", "the store is always SQLite; see [persistence]"),
    ("bridges.", "there are no bridges yet"),
    ("bridge.", "there are no bridges yet"),
    ("aws_bridge.", "there are no bridges yet"),
    ("rules.", "there are no rules yet"),
    ("rule.", "there are no rules yet"),
    ("webhook.", "there are no web hooks yet"),
    ("web.hook.", "there are no web hooks yet"),
    ("auth.http_auth.", "there is no extension yet that asks an HTTP server about clients"),
    ("auth.http.", "there is no extension yet that asks an HTTP server about clients"),
    ("auth.password.", "there is no extension yet that lets clients in by names and passwords"),
    ("log.dir", "the log has a folder of its own, log.dir"),
    ("plugin", "programs made for NanoMQ can't be loaded"),
    ("preset.", "sessions are made by clients alone"),
    ("exchange_client.", "there are no exchanges here"),
    ("http_server.jwt.private", "tokens are checked here, and made elsewhere"),
    ("http_server.parallel", "limit_conn says it"),
)
_LISTENER: Final = re.compile(r"listeners\.(tcp|ssl|ws|wss)\.([a-z_]+)")
_TLS: Final = re.compile(r"tls\.(.+)")
_LOGIN: Final = re.compile(r"auth\.[0-9]+\.(login|password)")
_URL: Final = re.compile(r"[a-z+-]+://(.*)")


class _Reading:
    def __init__(self, path: Path, result: Result) -> None:
        self._path = path
        self._result = result
        self._off: list[str] = []
        self._missing: dict[str, str] = {}
        # The listener of each kind, with the options that may make it none.
        self._binds: dict[str, Line] = {}
        self._enabled: dict[str, Line] = {}
        self._tls: dict[str, Line] = {}
        self._http: dict[str, Line] = {}
        self._logins: list[Line] = []
        self._rules: list[tuple[Line, object]] = []

    def run(self) -> None:
        """
        Read whichever form it is, then make what hangs together.
        """
        text = textOf(self._path)
        if isHOCON(text):
            self._hocon(text)
        else:
            self._flat(text)
        self._makeListeners()
        self._makeHTTP()
        for line in self._logins:
            self._result.lost(line, "there is no extension yet that lets clients in by names and passwords")
        for line, _ in self._rules:
            self._result.agree(line)
        if self._rules:
            self._result.rules = fromNanoMQ(self._rules, self._result)
            self._result.rulesLine = self._rules[0][0]
        elif self._result.get("acl_nomatch") != "deny":
            self._result.needNoRules(Line(self._path.name, 0, "", ""), "NanoMQ")
        for path, value in (("allow_anonymous", True), ("zone.external.keepalive_backoff", 0.625)):
            if self._result.get(path) is None:
                self._result.put(path, value, None, "NanoMQ's default")

    def _flat(self, text: str) -> None:
        for line in self._result.lines(pairs(text, self._path.name)):
            key, value = _OLD.get(line.key, line.key), line.value
            if re.fullmatch(r"acl\.rule\.[0-9]+", line.key):
                try:
                    self._rules.append((line, json.loads(value)))
                except (ValueError, RecursionError):
                    self._rules.append((line, None))
            elif _LOGIN.fullmatch(line.key):
                self._logins.append(line)
            elif line.key in ("tls.enable", "websocket.enable"):
                for kind in ("ssl", "wss") if line.key == "tls.enable" else ("ws", "wss"):
                    if kind not in self._enabled or value != "true":
                        self._enabled[kind] = line
            elif found := _TLS.fullmatch(line.key):
                if line.key == "tls.url":
                    self._binds["ssl"] = line
                else:
                    self._tls[found[1]] = line
            elif line.key in ("max_packet_size", "client_max_packet_size"):
                self._take(key, Line(line.file, line.number, line.key, f"{value}KB" if value.isdigit() else value))
            elif line.key == "qos_duration":
                self._take(key, Line(line.file, line.number, line.key, f"{value}s" if value.isdigit() else value))
            else:
                self._take(key, line)

    def _hocon(self, text: str) -> None:
        name = self._path.name
        try:
            document = parseHOCON(text, name, self._included, os.environ)
        except HOCONError as error:
            raise ConversionError(str(error)) from None
        if "${" in text:
            self._result.changed(Line(name, 0, "${...}", ""), "it stands for its value at the time of this conversion")
        for inclusion in document.includes:
            reason = self._missing.get(inclusion.file)
            if reason is not None:
                line = Line(inclusion.spot.name, inclusion.spot.line, "include", inclusion.file)
                if inclusion.table[:2] == ("auth", "acl"):
                    self._result.withoutRules(line, reason)
                else:
                    self._result.lost(line, reason)
        for path, spot in document.replaced:
            again = document.spots.get(path, spot)
            self._result.changed(
                Line(spot.name, spot.line, ".".join(path), ""), f"{again.name}:{again.line} says it again, and holds"
            )
        self._walk(document, (), document.table)

    def _included(self, file: str) -> str:
        found = located(file, self._path)
        try:
            if found is None:
                raise ConversionError("there is no such file")
            text = textOf(found)
        except ConversionError as error:
            self._missing[file] = str(error)
            return ""
        try:
            # Access rules in the form of EMQ X stand in a file that is no HOCON.
            if not parseRules(text, file).rules:
                return text
        except ACLProblem:
            return text
        self._result.put("acl_file", str(found), Line(self._path.name, 0, "include", file))
        return ""

    def _walk(self, document: Document, path: tuple[str, ...], value: Value) -> None:
        spot = document.spots.get(path, Spot(self._path.name, 0, 0))
        if isinstance(value, dict):
            for word, inner in value.items():
                self._walk(document, (*path, word), inner)
        elif path == ("auth", "acl", "rules") and isinstance(value, list):
            for number, rule in enumerate(value):
                at = document.spots.get((*path, str(number)), spot)
                self._rules.append((Line(at.name, at.line, f"rules.{number + 1}", ""), rule))
        elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            for number, item in enumerate(value):
                self._walk(document, (*path, str(number)), item)
        elif path[:2] == ("auth", "password"):
            self._logins.append(Line(spot.name, spot.line, ".".join(path), ""))
        else:
            written = document.written.get(path) or _written(value)
            self._take(".".join(path), Line(spot.name, spot.line, ".".join(path), written))

    def _take(self, key: str, line: Line) -> None:
        """
        Take over one setting.

        @param key: as HOCON has it.
        """
        result, value = self._result, line.value
        take: dict[str, Callable[[Line], None]] = {
            "mqtt.max_packet_size": self._packetSize,
            "mqtt.client_max_packet_size": self._packetSize,
            "mqtt.keepalive_multiplier": lambda line: self._keepAlive(line, 1),
            "mqtt.keepalive_backoff": lambda line: self._keepAlive(line, 1000),
            "mqtt.retry_interval": self._retry,
            "log.to": self._log,
            "log.level": lambda line: result.put("log.level", _LEVELS.get(line.value, line.value), line),
        }
        if found := _LISTENER.fullmatch(key):
            kind, option = found.groups()
            if option == "bind":
                self._binds[kind] = line
            elif option == "enable":
                self._enabled[kind] = line
            elif kind in ("ssl", "wss"):
                self._tls.setdefault(option, line)
            else:
                result.lost(line, "it is no option of a listener that is known here")
        elif key.startswith("http_server.") and not _reasonOf(key):
            self._http[key.removeprefix("http_server.")] = line
        elif key in take:
            take[key](line)
        elif key in _SAME:
            result.put(_SAME[key], value, line)
        else:
            result.lost(line, _reasonOf(key) or "it is no key that is known here")

    def _packetSize(self, line: Line) -> None:
        own = line.key.endswith("client_max_packet_size")
        self._result.put("zone.external.max_packet_size" if own else "mqtt.max_packet_size", line.value, line)

    def _retry(self, line: Line) -> None:
        self._result.put("zone.external.retry_interval", line.value, line)
        self._result.changed(line, "MQTT clients get a message again when they come back, and only then")

    def _keepAlive(self, line: Line, scale: int) -> None:
        try:
            backoff = float(line.value) / scale / 2
        except ValueError:
            self._result.lost(line, "it is no number")
            return
        self._result.put("zone.external.keepalive_backoff", round(backoff, 6), line)

    def _log(self, line: Line) -> None:
        kinds = {kind.strip() for kind in line.value.split(",")}
        if kinds - {"file", "console"}:
            self._result.changed(line, "what goes to syslog goes to the console, from where systemd passes it on")
        to = "both" if "file" in kinds and kinds != {"file"} else "file" if kinds == {"file"} else "console"
        self._result.put("log.to", to, line)

    def _makeListeners(self) -> None:
        result = self._result
        for kind, line in self._binds.items():
            switch = self._enabled.get(kind)
            if switch is not None and switch.value != "true":
                result.lost(line, f"{switch.file}:{switch.number} switches this listener off")
                self._off.append(kind)
                continue
            table = ("listener", kind, nameOf("external"))
            url = _URL.fullmatch(line.value)
            bind, slash, path = (url[1] if url else line.value).partition("/")
            result.put((*table, "bind"), bind, line)
            if slash and kind in ("ws", "wss"):
                result.put((*table, "mqtt_path"), f"/{path}", line)
            if kind in ("ssl", "wss"):
                for option, said in self._tls.items():
                    self._tlsOption(table, option, said)
        if not self._binds:
            result.put("listener.tcp.external.bind", "0.0.0.0:1883", None, "NanoMQ's default")
        for switch in self._enabled.values():
            result.agree(switch)
        if not any(kind in self._binds and kind not in self._off for kind in ("ssl", "wss")):
            for said in self._tls.values():
                result.lost(said, "there is no listener with TLS")

    def _tlsOption(self, table: tuple[str, ...], option: str, line: Line) -> None:
        result = self._result
        if option in ("keyfile", "certfile", "cacertfile"):
            found = located(line.value, self._path)
            # Without a question to clients the authorities are for nothing, and need not be there.
            verify = self._tls.get("verify_peer")
            if option != "cacertfile" or found is not None or (verify is not None and verify.value == "true"):
                result.put((*table, option), str(found) if found else line.value, line)
            else:
                result.lost(line, "there is no such file, and no client is asked for a certificate")
        elif option == "verify_peer":
            result.put((*table, "verify"), "verify_peer" if line.value == "true" else "verify_none", line)
        elif option == "fail_if_no_peer_cert":
            verify = self._tls.get("verify_peer")
            if line.value != "true" or (verify is not None and verify.value == "true"):
                result.put((*table, option), line.value, line)
            else:
                result.lost(line, "no client is asked for a certificate")
        elif option in ("key_password", "url"):
            result.lost(line, "a key file must have no password")
        else:
            result.lost(line, "it is no option of TLS that is known here")

    def _makeHTTP(self) -> None:
        switch = self._http.pop("enable", None)
        if switch is not None:
            self._result.agree(switch)
        if switch is not None and switch.value != "true":
            for line in self._http.values():
                self._result.lost(line, f"{switch.file}:{switch.number} switches the REST API off")
            return
        names = {
            "port": "listener.http.bind",
            "limit_conn": "listener.http.max_connections",
            "username": "nanomq.username",
            "password": "nanomq.password",
            "auth_type": "nanomq.auth_type",
            "jwt.public.keyfile": "nanomq.jwt_public_keyfile",
        }
        for option, line in self._http.items():
            self._result.load("management", line)
            if option in names:
                found = located(line.value, self._path) if option.endswith("keyfile") else None
                self._result.put(f"management.{names[option]}", str(found) if found else line.value, line)
            else:
                self._result.lost(line, "it is no key that is known here")


def isHOCON(text: str) -> bool:
    """
    Whether a text has tables in braces; the flat form has none but in the values of access rules.
    """
    return any(
        re.match(r"\s*([A-Za-z][\w.\" -]*[=:]?\s*)?\{", line) is not None
        for line in text.split("\n")
        if not line.lstrip().startswith(("#", "//", "acl.rule", "web.hook", "rule."))
    )


def convert(path: Path, result: Result) -> None:
    """
    Read C{nanomq.conf} and the files that it includes.

    @raise ConversionError: a file can't be read, or is not HOCON; or the access rules can't be read.
    """
    _Reading(path, result).run()


def _reasonOf(key: str) -> str:
    return next((reason for start, reason in _REASONS if key.startswith(start)), "")


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(_written, value))
    return "" if value is None else str(value)
