"""
Commands and calls of traces: the samples of spec/cli.md 13, and the calls of EMQ X.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from tests.kits.commands import Commands
from tests.kits.rest import Rest
from twisted_mqtt.monitoring.trace.extension import TraceExtension
from twisted_mqtt.monitoring.trace.settings import TraceSettings
from twisted_mqtt.operations.operation import NotFound, Refused
from twisted_mqtt.testing.extension import resultOf


def _commands(folder: Path) -> Commands:
    return Commands(trace=TraceExtension(TraceSettings(dir=str(folder))))


@pytest.mark.shows("start_client_trace", "start_topic_trace", "stop_client_trace", "stop_topic_trace", "list_traces")
def test_samples(tmp_path: Path) -> None:
    """
    The samples of spec/cli.md 13, in their order.
    """
    commands = _commands(tmp_path / "log")
    assert commands.lines("trace start client clientid log/clientid_trace.log") == [
        "trace clientid clientid successfully"
    ]
    assert commands.lines("trace start topic topic2 log/topic2_trace.log error") == ["trace topic topic2 successfully"]
    assert commands.lines("trace start client clientid2 log/clientid2_trace.log error") == [
        "trace clientid clientid2 successfully"
    ]
    assert commands.lines("trace stop client clientid") == ["stop tracing clientid clientid successfully"]
    assert commands.lines("trace list") == [
        'Trace(topic=topic2, level=error, destination="log/topic2_trace.log")',
        'Trace(clientid=clientid2, level=error, destination="log/clientid2_trace.log")',
    ]
    assert commands.lines("trace stop topic topic2") == ["stop tracing topic topic2 successfully"]
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == [
        "clientid2_trace.log",
        "clientid_trace.log",
        "topic2_trace.log",
    ]


@pytest.mark.shows("start_address_trace", "stop_address_trace")
def test_address(tmp_path: Path) -> None:
    """
    An address is traced in the same words.
    """
    commands = _commands(tmp_path)
    assert commands.lines("trace start ip_address 192.0.2.7 a.log") == ["trace ip_address 192.0.2.7 successfully"]
    assert commands.lines("trace") == ['Trace(ip_address=192.0.2.7, level=debug, destination="a.log")']
    assert commands.lines("trace stop ip_address 192.0.2.7") == ["stop tracing ip_address 192.0.2.7 successfully"]


def test_levels(tmp_path: Path) -> None:
    """
    A trace has events of its level and above: packets are for debugging, refusals are warnings.
    """
    commands = _commands(tmp_path)
    for level in ("debug", "info", "error"):
        commands.lines(f"trace start ip_address 127.0.0.1 {level}.log {level}")
        commands.memory.client("c1").publish("t", b"")
        commands.memory.wait(1)
        commands.lines("trace stop ip_address 127.0.0.1")
    texts = {level: (tmp_path / f"{level}.log").read_text() for level in ("debug", "info", "error")}
    assert [("PUBLISH" in text, "CONNECT" in text) for text in texts.values()] == [
        (True, True),
        (False, True),
        (False, False),
    ]


@pytest.mark.parametrize(
    ("words", "kind", "why"),
    [
        ("trace stop client nobody", NotFound, "clientid: 'nobody' is not traced"),
        ("trace stop name nobody", NotFound, "name: there is no trace 'nobody'"),
        ("trace start client c1 ../x", Refused, "file: '../x' leads out"),
        ("trace start client c1 x.log loud", Refused, "level: "),
        ("trace start client c1", Refused, "file: this parameter is required"),
    ],
)
def test_refusals(tmp_path: Path, words: str, kind: type[Exception], why: str) -> None:
    """
    What can't be done is refused with the field and the fault.
    """
    with pytest.raises(kind, match=why):
        _commands(tmp_path).answer(words)


@pytest.mark.shows("create_trace", "stop_trace", "delete_trace", "download_trace", "read_trace")
def test_rest(tmp_path: Path) -> None:
    """
    A trace by name: made, listed, read, downloaded, stopped, deleted with its file.
    """
    rest = Rest()
    rest.memory.run(TraceExtension(TraceSettings(dir=str(tmp_path))), "trace")
    body = {"name": "n1", "type": "clientid", "clientid": "c1", "duration": 60}
    assert rest.call("POST", "/trace", body).data["status"] == "running"
    assert rest.call("POST", "/trace", body).json["message"] == "name: there is a trace 'n1'"
    rest.memory.client("c1").publish("t", b"hello")
    rest.memory.wait(1)
    (row,) = rest.call("GET", "/trace").data
    text = (tmp_path / "trace_n1.log").read_text()
    assert (row["name"], row["type"], row["clientid"], row["log_size"]) == ("n1", "clientid", "c1", len(text))
    assert rest.call("GET", "/trace/n1/download").body.decode() == text
    part = rest.call("GET", "/trace/n1/log?position=2&bytes=8").data
    assert part == {"meta": {"position": 10, "bytes": 8}, "items": "Trace of"}
    assert rest.call("GET", "/trace/n1/log?position=-1").status == 400
    rest.memory.wait(60)
    (row,) = rest.call("GET", "/trace").data
    assert (row["status"], row["reason"]) == ("stopped", "its time is over")
    assert rest.call("PUT", "/trace/n1/stop").data["status"] == "stopped"
    assert rest.call("DELETE", "/trace/n1").status == 200
    assert rest.call("GET", "/trace").data == []
    assert not (tmp_path / "trace_n1.log").exists()
    assert rest.call("GET", "/trace/n1/log").status == 404


def test_fileIsGone(tmp_path: Path) -> None:
    """
    A file that somebody has deleted, or has put something else in the place of, is no fault of the broker.
    """
    rest = Rest()
    rest.memory.run(TraceExtension(TraceSettings(dir=str(tmp_path))), "trace")
    rest.call("POST", "/trace", {"name": "n1", "type": "clientid", "clientid": "c1"})
    rest.memory.wait(1)
    file = tmp_path / "trace_n1.log"
    file.unlink()
    for call in ("download", "log"):
        answer = rest.call("GET", f"/trace/n1/{call}")
        assert (answer.status, answer.json["message"]) == (404, "name: the file 'trace_n1.log' was moved or deleted")
    file.mkdir()
    for method, call in (("GET", "/download"), ("GET", "/log"), ("DELETE", "")):
        answer = rest.call(method, f"/trace/n1{call}")
        assert (answer.status, answer.json["message"]) == (500, "name: 'trace_n1.log': Is a directory")


def test_deletePast(tmp_path: Path) -> None:
    """
    Whoever deletes a trace that is over leaves the file to the one that is written behind it.
    """
    rest = Rest()
    extension = TraceExtension(TraceSettings(dir=str(tmp_path)))
    rest.memory.run(extension, "trace")
    rest.call("POST", "/trace", {"name": "n1", "type": "clientid", "clientid": "c1"})
    rest.call("PUT", "/trace/n1/stop")
    behind = resultOf(Deferred.fromCoroutine(extension.tracer.startFile("clientid", "c2", "trace_n1.log", "debug")))
    assert rest.call("DELETE", "/trace/n1").status == 200
    assert (tmp_path / "trace_n1.log").exists()
    assert rest.call("DELETE", f"/trace/{behind.name}").status == 200
    assert not (tmp_path / "trace_n1.log").exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "../x", "type": "clientid", "clientid": "c"}, "name"),
        ({"name": "", "type": "clientid", "clientid": "c"}, "name"),
        ({"name": "n", "type": "clientid"}, "clientid"),
        ({"name": "n", "type": "color"}, "type"),
        ({"name": "n", "type": "topic", "topic": "#/#"}, "topic"),
        ({"name": "n", "type": "ip_address", "ip_address": "x"}, "ip_address"),
        ({"name": "n", "type": "clientid", "clientid": "c", "duration": -1}, "duration"),
        ({"name": "n", "type": "clientid", "clientid": "c", "level": 1}, "level"),
        ({}, "name"),
    ],
)
def test_wrong_bodies(tmp_path: Path, body: dict[str, object], field: str) -> None:
    """
    A wrong body is refused with the name of the field.
    """
    rest = Rest()
    rest.memory.run(TraceExtension(TraceSettings(dir=str(tmp_path))), "trace")
    answer = rest.call("POST", "/trace", body)
    assert (answer.status, answer.json["message"].partition(":")[0]) == (400, field)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.shows("look_at_client")
def test_live(tmp_path: Path) -> None:
    """
    A live trace comes as server-sent events, and ends with whoever looks on.
    """
    rest = Rest()
    harness = rest.memory.run(TraceExtension(TraceSettings(dir=str(tmp_path))), "trace")
    transport, channel = rest.listen("/trace_live/clientid/client-id%3Dc1?rate_max=100&trunc_payload=2")
    rest.memory.client("c1").publish("t", b"hello")
    rest.memory.wait(0.1, 0.01)
    said = transport.value().decode()
    assert "content-type: text/event-stream" in said.lower()
    assert "data: " in said and "CONNECT(c: c1" in said
    assert "data:     he (truncated)\n\n" in said
    tracer = harness.extension.tracer
    assert len(tracer.running) == 1
    rest.memory.wait(20)
    assert ": nothing new\n\n" in transport.value().decode()
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    channel.connectionLost(Failure(ConnectionDone()))
    rest.memory.wait(0.1, 0.01)
    assert not tracer.running
    assert rest.memory.broker.tracer is None


@pytest.mark.shows("look_at_topic", "look_at_address", "stop_all_traces", "clear_traces")
def test_all_end(tmp_path: Path) -> None:
    """
    Live traces by topic and by address begin with what is looked at; all traces can be ended at once, and deleted.
    """
    rest = Rest()
    harness = rest.memory.run(TraceExtension(TraceSettings(dir=str(tmp_path))), "trace")
    tracer = harness.extension.tracer
    first, _ = rest.listen("/trace_live/topic/a%2F%23")
    second, _ = rest.listen("/trace_live/ip_address/192.0.2.1")
    rest.call("POST", "/trace", {"name": "n1", "type": "topic", "topic": "a/#"})
    assert "Starting trace for messages that match a/#" in first.value().decode()
    rest.memory.wait(0.1, 0.01)
    assert 'No sessions found for address "192.0.2.1"' in second.value().decode()
    assert len(tracer.running) == 3
    assert rest.call("DELETE", "/trace").status == 200
    rest.memory.wait(0.1, 0.01)
    assert (tracer.running, list(tmp_path.iterdir())) == ({}, [])
    for transport in (first, second):
        assert transport.value().decode().endswith("0\r\n\r\n")
    commands = _commands(tmp_path)
    commands.lines("trace start client c1 a.log")
    assert commands.lines("trace stop all") == ["stop tracing 1 successfully"]
    assert commands.lines("trace list") == []
