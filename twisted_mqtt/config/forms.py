"""
The written forms of single settings: addresses, address rules, policies, topics, file names, ciphers.

Built on L{twisted_mqtt.config.grammar}, which has the general ones.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Callable

from twisted_mqtt.config.grammar import (
    Grammar,
    Unfit,
    listOf,
    natural,
    parseDuration,
    parseSize,
    parts,
    text,
    whole,
    writeDuration,
    writeSize,
)
from twisted_mqtt.config.values import AccessRule, Bind, FlappingPolicy, RewriteRule, TwoLimits, filterFault

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_ALL_ADDRESSES = "0.0.0.0"


def parseBind(value: object) -> Bind:
    """
    A port on every address, or a host and port; IPv6 addresses with or without brackets.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    written = text(value).strip()
    if "://" in written:
        raise Unfit(f'must be an address and a port without "{written.partition("://")[0]}://"')
    host, colon, port = written.rpartition(":")
    if not re.fullmatch(r"[0-9]+", port):
        if _HOST.fullmatch(written) or _isAddress(written.strip("[]")):
            raise Unfit(f'must have a port after the address, such as "{written}:1883"')
        raise Unfit
    if len(port) > 5 or int(port) > 65535:
        raise Unfit(f"must have a port from 0 to 65535, and not {port[:20]}")
    if not colon:
        return Bind(_ALL_ADDRESSES, int(port))
    if host in ("", "*"):
        raise Unfit(f'must be "{_ALL_ADDRESSES}:{port}" for every IPv4 address, or "[::]:{port}" for every one')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # Digits and dots only is a mistyped address, not a name.
        if re.fullmatch(r"[0-9.]+", host):
            raise Unfit(f'must have an address of four numbers up to 255, and "{host}" is none') from None
        if not _HOST.fullmatch(host):
            raise Unfit from None
    return Bind(host, int(port))


def _isAddress(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def parseSocketPath(value: object) -> Bind:
    """
    The path of a UNIX socket.
    """
    path = text(value)
    # sun_path has 108 bytes with its closing NUL on Linux.
    if not path or "\0" in path or len(os.fsencode(path)) > 107:
        raise Unfit
    return Bind(path=path)


def parseTopicTree(value: object) -> str:
    """
    The name of a topic tree; one slash at its end is left out.
    """
    name = text(value).removesuffix("/")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise Unfit from None
    if len(name) > 128 or any(character < " " or character in "+#\x7f" for character in name):
        raise Unfit
    return name


def parseMode(value: object) -> int:
    """
    File permissions from octal digits.
    """
    written = text(value)
    if not re.fullmatch(r"0?[0-7]{3}", written):
        raise Unfit
    return int(written, 8)


def parseAccessRule(value: object) -> AccessRule:
    """
    C{allow} or C{deny}, then C{all}, an address or a network.
    """
    words = text(value).split()
    if len(words) != 2 or words[0].lower() not in ("allow", "deny"):
        raise Unfit
    allow = words[0].lower() == "allow"
    if words[1].lower() == "all":
        return AccessRule(allow)
    try:
        return AccessRule(allow, ipaddress.ip_network(words[1], strict=False))
    except ValueError:
        raise Unfit from None


def parseFlappingPolicy(value: object) -> FlappingPolicy:
    """
    C{"<threshold>, <window>, <banned>"}.
    """
    threshold, window, banned = parts(value, 3)
    policy = FlappingPolicy(natural(threshold, 1), parseDuration(window), parseDuration(banned))
    if not (policy.window and policy.banned):
        raise Unfit
    return policy


def parseTwoLimits(value: object) -> TwoLimits:
    """
    C{"<count>|<size>"}.
    """
    count, bar, size = text(value).partition("|")
    if not bar:
        raise Unfit
    return TwoLimits(natural(count.strip()), parseSize(size.strip()))


def _pairs(value: object, split: Callable[[str, str], tuple[str, str, str]]) -> list[tuple[str, str, object]]:
    """
    The pairs of a TOML table, or of a text of items with an equals sign; C{"none"} has none.

    @param split: which equals sign counts: C{str.partition} or C{str.rpartition}.
    """
    if isinstance(value, dict):
        return [(name, "=", item) for name, item in value.items()]
    written = text(value).strip()
    if written.lower() in ("none", ""):
        return []
    return [split(item.strip(), "=") for item in written.split(",")]


def parsePriorities(value: object) -> dict[str, int]:
    """
    C{"<topic>=<priority>,..."} or a TOML table; C{"none"} for an empty one.
    """
    pairs = [(topic, priority) for topic, _, priority in _pairs(value, str.rpartition)]
    if not all(topic and "+" not in topic and "#" not in topic for topic, _ in pairs):
        raise Unfit
    priorities = {topic: natural(priority) for topic, priority in pairs}
    if any(priority > 255 for priority in priorities.values()):
        raise Unfit
    return priorities


#: The levels of the log, the least important first.
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


def parseModuleLevels(value: object) -> dict[str, str]:
    """
    C{"<module>=<level>,..."} or a TOML table; C{"none"} for an empty one.
    """
    levels = {name.strip(): text(level).strip() for name, _, level in _pairs(value, str.rpartition)}
    for name, level in levels.items():
        if level not in LOG_LEVELS:
            raise Unfit
        if not all(part.isidentifier() for part in name.split(".")):
            raise Unfit(f"{name!r} is no module such as twisted_mqtt.stores")
    return levels


def parseSyslogAddress(value: object) -> str:
    """
    The path of a socket, or C{udp://host:port}.
    """
    address = text(value)
    if address.startswith("/") and "\0" not in address:
        return address
    found = re.fullmatch(r"udp://(\[[0-9A-Fa-f:.]+\]|[^/:\s\[\]]+):([0-9]{1,5})", address)
    if found is None or not 0 < int(found[2]) < 65536:
        raise Unfit
    return address


def parseTopicFilter(value: object) -> str:
    """
    A topic filter, with or without placeholders.
    """
    topicFilter = text(value)
    if fault := filterFault(topicFilter):
        raise Unfit(f"must be a topic filter: {fault}")
    return topicFilter


def parseTopicName(value: object) -> str:
    """
    A topic, or the first part of one: no wildcards.
    """
    topic = text(value)
    if re.search(r"[+#\0]", topic):
        raise Unfit
    return topic


def parseTopicTable(value: object) -> dict[int, str]:
    """
    Topic identifiers and their topics: C{"<number>=<topic>,..."} or a TOML table.
    """
    table = {natural(number): parseTopicName(topic) for number, _, topic in _pairs(value, str.partition)}
    if not all(table.values()) or any(number > 65535 for number in table):
        raise Unfit
    return table


def parseRewriteRule(value: object) -> RewriteRule:
    """
    C{"<filter> <regular expression> <destination>"}, separated by blanks.
    """
    words = text(value).split()
    if len(words) != 3:
        raise Unfit
    topicFilter, pattern, destination = words
    if fault := filterFault(topicFilter):
        raise Unfit(f"must start with a topic filter: {fault}")
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise Unfit(f"must have a regular expression as its second word: {error}") from None
    used = max((int(group) for group in re.findall(r"\$([0-9]{1,9})", destination)), default=0)
    if used > groups:
        raise Unfit(f"must have a group in its regular expression for each of its destination's: there is no ${used}")
    return RewriteRule(topicFilter, pattern, destination)


def parseNodeName(value: object) -> str:
    """
    C{name@host}.
    """
    written = text(value)
    if not re.fullmatch(r"[^\s@/+#]+@[^\s@/+#]+", written):
        raise Unfit
    return written


def parseReadableFile(value: object) -> str:
    """
    The name of a file that is there and can be read.
    """
    path = text(value)
    if not path:
        raise Unfit
    try:
        with open(path, "rb"):
            return path
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise Unfit(f"must name a file that can be read ({reason}; seen from {os.getcwd()})") from None


def parseURLPath(value: object) -> str:
    """
    The path of a URL, without query and fragment.
    """
    path = text(value)
    if not re.fullmatch(r"/[^\s?#]*", path):
        raise Unfit
    return path


def parseHex(value: object) -> str:
    """
    Bytes in hexadecimal.
    """
    written = text(value)
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})*", written):
        raise Unfit
    return written


def parseServerURI(value: object) -> str:
    """
    The URI of an LwM2M server: a scheme, a host and perhaps a port.
    """
    written = text(value)
    if len(written) > 255 or not re.fullmatch(
        r"coaps?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?", written
    ):
        raise Unfit
    return written


def parseTLSVersion(value: object) -> str:
    """
    The name of a TLS version; SSL has been broken for too long to be listened to.
    """
    version = text(value).lower()
    if version not in TLS_VERSIONS:
        raise Unfit
    return version


def parseGroup(value: object) -> str:
    """
    The address of a multicast group.
    """
    try:
        address = ipaddress.ip_address(text(value).strip())
    except ValueError:
        raise Unfit from None
    if not address.is_multicast:
        raise Unfit
    return str(address)


def unknownCiphers(ciphers: tuple[str, ...]) -> list[str]:
    """
    Those cipher suites that the OpenSSL at hand does not offer.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    unknown = []
    for cipher in ciphers:
        if cipher.startswith("TLS_"):
            # The suites of TLS 1.3 are always on and cannot be chosen by this list.
            continue
        try:
            context.set_ciphers(cipher)
        except ssl.SSLError:
            unknown.append(cipher)
    return unknown


TLS_VERSIONS = ("tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3")

BIND = Grammar("port or address", 'a port, or an address and port such as "127.0.0.1:1883" or "[::1]:1883"', parseBind)
SOCKET_PATH = Grammar("path", "the path of a UNIX socket, of at most 107 bytes", parseSocketPath)
MODE = Grammar("permissions", 'file permissions in octal, such as "660"', parseMode, lambda mode: f"{mode:03o}")
ACCESS_RULE = Grammar(
    "access rule",
    '"allow" or "deny", then "all", an address or a network, such as "allow 192.168.0.0/24"',
    parseAccessRule,
)
FLAPPING_POLICY = Grammar(
    "threshold, window, ban",
    '"<connections>, <time>, <time of the ban>", such as "30, 1m, 5m"',
    parseFlappingPolicy,
    lambda policy: f"{policy.threshold}, {writeDuration(policy.window)}, {writeDuration(policy.banned)}",
)
TWO_LIMITS = Grammar(
    "number|size",
    '"<number>|<size>", such as "1000|1MB"',
    parseTwoLimits,
    lambda limits: f"{limits.count}|{writeSize(limits.size)}",
)
PRIORITIES = Grammar(
    "priority table",
    'topics without wildcards and their priorities from 0 to 255, such as "topic/1=10,topic/2=8", or "none"',
    parsePriorities,
    lambda table: ",".join(f"{topic}={priority}" for topic, priority in table.items()) or "none",
)
MODULE_LEVELS = Grammar(
    "level table",
    f'modules and their levels, such as "twisted_mqtt.stores=debug,gateways=error", or "none"; levels are'
    f" {', '.join(LOG_LEVELS)}",
    parseModuleLevels,
    lambda table: ",".join(f"{name}={level}" for name, level in table.items()) or "none",
)
SYSLOG_ADDRESS = Grammar(
    "syslog address", 'the path of a socket, such as "/dev/log", or "udp://<host>:<port>"', parseSyslogAddress
)
TOPIC_FILTER = Grammar("topic filter", "a topic filter", parseTopicFilter)
TOPIC_NAME = Grammar("topic", "a topic without + and #", parseTopicName)
TOPIC_TABLE = Grammar(
    "numbered topics",
    'numbers from 0 to 65535 and topics without wildcards, such as "1=some/topic,2=other"',
    parseTopicTable,
    lambda table: ",".join(f"{number}={topic}" for number, topic in table.items()) or "none",
)
REWRITE_RULE = Grammar(
    "rewrite rule",
    '"<topic filter> <regular expression> <destination>", such as "x/# ^x/y/(.+)$ z/y/$1"',
    parseRewriteRule,
)
NODE_NAME = Grammar("name@host", 'a name and a host, such as "mqttbroker@127.0.0.1"', parseNodeName)
GROUP_LIST = listOf(Grammar("multicast address", 'the address of a group, such as "224.0.1.187"', parseGroup))
FILE = Grammar("file", "the name of a file", parseReadableFile)
TOPIC_TREE = Grammar(
    "topic tree", "a name of at most 128 characters, without + # and control characters", parseTopicTree
)
URL_PATH = Grammar("URL path", 'a path that begins with a slash, such as "/mqtt"', parseURLPath)
HEX = Grammar("hexadecimal", "an even number of hexadecimal digits", parseHex)
SERVER_URI = Grammar("URI", 'a URI such as "coap://192.0.2.1:5783" or "coaps://lwm2m.example"', parseServerURI)
TLS_VERSION = Grammar("TLS version", f"one of {', '.join(TLS_VERSIONS)}", parseTLSVersion)
TLS_VERSION_LIST = listOf(TLS_VERSION)
CIPHER = Grammar("cipher suite", "the OpenSSL name of a cipher suite", text)
CIPHER_LIST = listOf(CIPHER, ",:")
PROTOCOL_VERSIONS = listOf(whole(3, 5))
