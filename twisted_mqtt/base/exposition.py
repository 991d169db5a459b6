"""
Metrics as Prometheus reads them: text format 0.0.4, and OpenMetrics 1.0.0 where that is asked for.

Names are those of EMQ X (C{emqx_packets_publish_received}), of NanoMQ (C{nanomq_messages_received}, those that it has),
or of VerneMQ (C{mqtt_publish_received}); see spec/vernemq.md 26.4, spec/rest-api-nanomq.md 3.5 and
spec/hooks-modules-sys.md 6.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from math import isfinite, isnan
from typing import Final, Literal, TypeAlias

from twisted_mqtt.base.metrics import Collected, HistogramValue, Kind

Style: TypeAlias = Literal["emqx", "nanomq", "vernemq"]

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

#: What NanoMQ has, by what it is here.
NANOMQ: Final = {
    "connections.count": "connections_count",
    "connections.max": "connections_max",
    "sessions.count": "sessions_count",
    "sessions.max": "sessions_max",
    "topics.count": "topics_count",
    "topics.max": "topics_max",
    "subscribers.count": "subscribers_count",
    "subscribers.max": "subscribers_max",
    "messages.received": "messages_received",
    "messages.sent": "messages_sent",
    "messages.dropped": "messages_dropped",
}

#: What VerneMQ calls otherwise than by the rule: C{packets.<p>.<what>} is C{mqtt_<p>_<what>}.
VERNEMQ: Final = {
    "bytes.received": "bytes_received",
    "bytes.sent": "bytes_sent",
    "packets.puback.missed": "mqtt_puback_invalid_error",
    "packets.pubrec.missed": "mqtt_pubrec_invalid_error",
    "packets.pubcomp.missed": "mqtt_pubcomp_invalid_error",
    "packets.too_large": "mqtt_invalid_msg_size_error",
    "client.keepalive_timeout": "client_keepalive_expired",
    "connections.opened": "socket_open",
    "connections.closed": "socket_close",
    "connections.connect_timeout": "socket_close_timeout",
    "connections.error": "socket_error",
    "session.created": "queue_setup",
    "session.loaded": "queue_initialized_from_storage",
    "sessions.ended": "queue_teardown",
    "sessions.count": "queue_processes",
    "delivery.offered": "queue_message_in",
    "messages.delivered": "queue_message_out",
    "delivery.dropped.queue_full": "queue_message_drop",
    "delivery.dropped.expired": "queue_message_expired",
    "delivery.dropped.session_ended": "queue_message_unhandled",
    "subscriptions.count": "router_subscriptions",
    "routes.matched": "router_matches_local",
    "messages.forward": "router_matches_remote",
    "routes.bytes": "router_memory",
    "retained.count": "retain_messages",
    "retained.bytes": "retain_memory",
    "cluster.lost": "netsplit_detected",
    "cluster.restored": "netsplit_resolved",
    "bridge.dropped": "vmq_bridge_dropped_msgs",
}

#: What VerneMQ has and always is 0: it has been replaced there, or belongs to an extension that does not run here.
VERNEMQ_ZERO: Final = (
    "client_expired",
    "cluster_bytes_dropped",
    "cluster_bytes_received",
    "cluster_bytes_sent",
    "mqtt_connack_accepted_sent",
    "mqtt_connack_bad_credentials_sent",
    "mqtt_connack_identifier_rejected_sent",
    "mqtt_connack_not_authorized_sent",
    "mqtt_connack_server_unavailable_sent",
    "mqtt_connack_unacceptable_protocol_sent",
    "netsplit_detected",
    "netsplit_resolved",
    "vmq_bridge_dropped_msgs",
)

#: What EMQ X has and is 0 here: it was removed in 4.0, or belongs to extensions that do not run; and their kinds.
EMQX_ZERO: Final[dict[str, Kind]] = {
    "actions.failure": "counter",
    "channel.gc": "counter",
    "messages.qos2.dropped": "counter",
    "messages.qos2.expired": "counter",
    **{f"{name}.{what}": "gauge" for name in ("rules", "actions", "resources") for what in ("count", "max")},
}

_PACKET: Final = re.compile(r"packets\.([a-z]+)\.(received|sent|auth_error|error)")


def emqxName(name: str) -> str:
    """
    C{packets.publish.received} is C{emqx_packets_publish_received}.
    """
    return "emqx_" + name.replace(".", "_")


def nanomqName(name: str) -> str | None:
    """
    Only what NanoMQ has.
    """
    found = NANOMQ.get(name)
    return None if found is None else f"nanomq_{found}"


def vernemqName(name: str) -> str | None:
    """
    VerneMQ's, or for what it does not have, the name with C{_} for the dots. What C{mqtt.<p>.<what>} shows by version
    and reason code is not shown again as a sum.
    """
    found = VERNEMQ.get(name)
    if found is not None:
        return found
    packet = _PACKET.fullmatch(name)
    if packet is None:
        return name.replace(".", "_")
    return None if packet[2] in ("received", "sent") else f"mqtt_{packet[1]}_{packet[2]}"


_NAMES: Final[dict[Style, Callable[[str], str | None]]] = {
    "emqx": emqxName,
    "nanomq": nanomqName,
    "vernemq": vernemqName,
}


def completed(collected: Iterable[Collected], style: Style) -> Iterator[Collected]:
    """
    What this broker has, and what one of that style always shows besides: L{EMQX_ZERO}, L{VERNEMQ_ZERO}.
    """
    zeros: dict[str, Kind] = {}
    if style == "emqx":
        zeros.update(EMQX_ZERO)
    elif style == "vernemq":
        zeros.update(dict.fromkeys(VERNEMQ_ZERO, "counter"))
    known: set[str | None] = set()
    for metric in collected:
        known.update((metric.name, _NAMES[style](metric.name)))
        yield metric
    for name, kind in zeros.items():
        if name not in known:
            yield Collected(name, kind, "Always 0 here", (), [((), 0)])


def nameIn(style: Style, name: str) -> str | None:
    """
    The name of a metric as a broker calls it, with C{_} between the words.

    @return: L{None} if that broker does not have it, and other names than its own are not wanted.
    """
    return _NAMES[style](name)


def isOpenMetrics(accept: bytes) -> bool:
    """
    Whether OpenMetrics is to be sent to who accepts these forms: only where the text format is not among them.

    Prometheus takes both and would rather have OpenMetrics. There counters have to end with C{_total}, so everybody's
    queries and dashboards would be for other names than those that the broker is known to have.

    @param accept: the header C{Accept}.
    """
    forms = {form.partition(b";")[0].strip().lower() for form in accept.split(b",")}
    return b"application/openmetrics-text" in forms and b"text/plain" not in forms


def families(
    collected: Iterable[Collected], style: Style, node: str = "", openMetrics: bool = False, prefix: str = ""
) -> Iterator[str]:
    """
    All metrics as text, in pieces.

    @param style: whose names they have.
    @param node: a label of each series; C{""} for none.
    @param openMetrics: whether it is OpenMetrics: counters end with C{_total} there.
    @param prefix: what each name begins with.

    @return: for each metric its lines, and for OpenMetrics the last line.
    """
    named = _NAMES[style]
    for metric in collected:
        name = named(metric.name)
        if name is not None:
            yield "\n".join([*_family(metric, prefix + name, node, openMetrics), ""])
    if openMetrics:
        yield "# EOF\n"


def expose(
    collected: Iterable[Collected], style: Style, node: str = "", openMetrics: bool = False, prefix: str = ""
) -> str:
    """
    All metrics as one text; see L{families}.
    """
    return "".join(families(collected, style, node, openMetrics, prefix))


def encoded(text: str) -> bytes:
    """
    In UTF-8; with C{?} for what has no form there, such as half a pair of surrogates in a label.
    """
    return text.encode("utf-8", "replace")


def _family(metric: Collected, name: str, node: str, openMetrics: bool) -> Iterator[str]:
    if openMetrics and metric.kind == "counter":
        # The suffix belongs to the sample and not to the family.
        name = name.removesuffix("_total")
    yield f"# HELP {name} {_escaped(metric.help, quoted=openMetrics)}"
    yield f"# TYPE {name} {metric.kind}"
    sample = f"{name}_total" if openMetrics and metric.kind == "counter" else name
    for values, value in metric.series:
        labels = list(zip(metric.labels, values, strict=True))
        if node:
            labels.insert(0, ("node", node))
        if isinstance(value, HistogramValue):
            yield from _buckets(name, labels, value)
        else:
            yield f"{sample}{_labels(labels)} {numberText(value)}"


def _buckets(name: str, labels: list[tuple[str, str]], value: HistogramValue) -> Iterator[str]:
    below = 0
    for bound, count in zip((*value.bounds, float("inf")), value.counts, strict=True):
        below += count
        yield f"{name}_bucket{_labels([*labels, ('le', numberText(bound))])} {below}"
    yield f"{name}_sum{_labels(labels)} {numberText(value.sum)}"
    yield f"{name}_count{_labels(labels)} {below}"


def _labels(labels: list[tuple[str, str]]) -> str:
    # An empty label is none (Prometheus data model): which ones there are may depend on the series.
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels if value)
    return f"{{{shown}}}" if shown else ""


def _escaped(text: str, quoted: bool = True) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quoted else text


def numberText(value: float) -> str:
    """
    A number as Prometheus and others read it: a whole one without a point.
    """
    if not isfinite(value):
        return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(float(value))
