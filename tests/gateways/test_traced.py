"""
Traces of the clients of gateways: what they ask for and are told, as the packets of MQTT that would say it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateways.test_alike import COAP, HOST, SN, STOMP, TOPIC, Together
from tests.kits.lwm2m import Kit as LwM2MKit
from tests.kits.tracing import Tracing
from twisted_mqtt.hooks.verdicts import STOP, AuthResult


@pytest.mark.parametrize("kind", [STOMP, SN, COAP])
def test_session(kind: type[STOMP] | type[SN] | type[COAP], tmp_path: Path) -> None:
    """
    A client is traced from its way in to its way out, with the answers of hooks, and without its password.
    """
    together = Together()
    tracing = Tracing(together.broker, tmp_path)
    tracing.start("clientid", "dev")
    client = kind(together, "dev")
    client.subscribe()
    client.publish()
    client.receive()
    client.leave()
    together.clock.advance(1)
    lines = tracing.lines()
    protocol = kind.protocol.upper()
    events = [line.partition(f" {protocol} ")[2] for line in lines if f" {protocol} " in line]
    assert all(f"<{HOST}:" in line for line in lines if f" {protocol} " in line)
    heads = [event.replace(' CID: "dev" ', " ").partition("(")[0] for event in events]
    wanted = [
        "RECV: CONNECT",
        "SEND: CONNACK",
        "RECV: SUBSCRIBE",
        "SEND: SUBACK",
        "RECV: PUBLISH",
        "SEND: PUBLISH",
    ]
    assert [head for head in heads if head in wanted] == wanted
    assert any(f'"{TOPIC}")' in event for event in events)
    text = "\n".join(lines)
    assert "HOOK: CID" in text and "client.authenticate" in text
    assert "p: y" not in text
    assert any('CID: "dev" is gone: ' in line for line in lines)
    assert not tracing.tracer._taps


@pytest.mark.parametrize("kind", [STOMP, SN, COAP])
def test_client_that_is_here(kind: type[STOMP] | type[SN] | type[COAP], tmp_path: Path) -> None:
    """
    A client that is connected is traced from here on, until its trace ends; it works as before all the time.
    """
    together = Together()
    tracing = Tracing(together.broker, tmp_path)
    client = kind(together, "dev")
    client.subscribe()
    trace = tracing.start("clientid", "dev")
    client.publish()
    client.receive()
    tracing.tracer.end(trace)
    client.publish()
    client.receive()
    together.clock.advance(1)
    lines = tracing.lines()
    assert any("Starting trace for 1 existing session" in line for line in lines)
    assert sum("SEND" in line and "PUBLISH(" in line for line in lines) == 1
    assert not tracing.tracer._taps


def test_device(tmp_path: Path) -> None:
    """
    A device of LwM2M is traced by its endpoint name and by its address.
    """
    kit = LwM2MKit()
    tracing = Tracing(kit.broker, tmp_path)
    tracing.start("clientid", "ep1", "name.log")
    tracing.start("ip_address", "192.0.2.1", "address.log")
    device = kit.registered()
    device.deregister()
    kit.clock.advance(1)
    for file in ("name.log", "address.log"):
        text = "\n".join(tracing.lines(file))
        assert 'LWM2M RECV: CID: "ep1" CONNECT(c: ep1' in text
        assert 'CID: "ep1" is gone: ' in text


def test_refused(tmp_path: Path) -> None:
    """
    A client that is not let in is traced to its refusal, and nothing is kept of it.
    """
    together = Together()
    together.broker.hooks.clientAuthenticate.add(lambda client, result: STOP(AuthResult("banned")), priority=1)
    tracing = Tracing(together.broker, tmp_path)
    tracing.start("clientid", "dev", level="warning")
    STOMP(together, "dev")
    together.clock.advance(1)
    assert any("[warning]" in line and "CONNACK(sp: 0, rc: 138" in line for line in tracing.lines())
    assert not tracing.tracer._taps
