"""
C{emqxlwm2m} from PyPI, which was written for EMQ X: its commands, and what it makes of the answers.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from paho.mqtt.client import CallbackAPIVersion, Client

emqx = pytest.importorskip("emqxlwm2m.engines.emqx")

from emqxlwm2m.oma import Device as DeviceObject  # noqa: E402
from emqxlwm2m.oma import Location  # noqa: E402

from tests.system.lwm2m.device import Device  # noqa: E402
from tests.system.process import PATIENCE, Broker  # noqa: E402


@pytest.fixture
def endpoint(gateway: Broker, device: Device, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """
    The device as that library sees it, after it has seen the registration; it logs what it can't make sense of.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it was written for callbacks of the first kind
        client = Client(CallbackAPIVersion.VERSION1)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(gateway.host, gateway.port)
    with emqx.EMQxEngine(client, timeout=PATIENCE, qos=1) as engine, caplog.at_level(logging.WARNING):
        found = engine.endpoint(device.endpoint)
        registrations = found.registrations()
        assert subscribed.wait(PATIENCE)
        device.register()
        registration = registrations.get(timeout=PATIENCE)
        assert registration.lt == 300
        assert "/3/0" in registration.object_list
        yield found
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_reads(endpoint: Any) -> None:
    """
    Resources, with and without its own definitions of objects, and a whole instance.
    """
    assert endpoint.read("/3/0/0").value == "Open Mobile Alliance"
    assert endpoint[DeviceObject][0].battery_level.read().value == 100
    assert endpoint[Location][0].latitude.read().value == pytest.approx(-43.5723)
    whole = endpoint.read("/3/0").value
    assert whole["/3/0/6/1"] == 5
    assert whole["/3/0/13"] == 1367491215
    assert endpoint.read("/1/0/6").value is True


def test_discovers(endpoint: Any, device: Device) -> None:
    """
    Get its resources, with the attributes that were written before.
    """
    endpoint.write_attr("/3/0/9", pmin=60, pmax=120, lt=5, st=10.5, gt=95).check()
    device.next()
    found = endpoint.discover("/3/0/9").data
    assert found["/3/0/9"] == {"pmin": 60, "pmax": 120, "lt": 5, "st": 10.5, "gt": 95}


def test_writes(endpoint: Any) -> None:
    """
    One value, and several of an instance.
    """
    endpoint.write("/3/0/14", "+03:00").check()
    endpoint.write("/1/0", {"1": 60, "6": False}).check()
    assert endpoint.read("/3/0/14").value == "+03:00"
    assert endpoint.read("/1/0/1").value == 60
    assert endpoint.read("/1/0/6").value is False


def test_executes(endpoint: Any, device: Device) -> None:
    """
    With arguments and without.
    """
    endpoint[DeviceObject][0].reboot.execute().check()
    asked = device.next()
    assert (asked.method, asked.path, asked.payload) == ("POST", "/3/0/4", b"")
    endpoint.execute("/3/0/5", "0='x'").check()
    assert device.next().payload == b"0='x'"


def test_observes(endpoint: Any, device: Device) -> None:
    """
    An observation, its notifications, and its end.
    """
    response = endpoint.observe("/3/0/10")
    assert response.value == 15
    for value in (4096, 17):
        device.notify("/3/0/10", value)
        notification = response.notifications.get(timeout=PATIENCE)
        assert notification.value == value
    assert endpoint.cancel_observe("/3/0/10").value == 17


def test_createsAndDeletes(endpoint: Any) -> None:
    """
    An instance, of what it is made, and that it is gone.
    """
    endpoint.create("/2/7", {"0": 3, "1": 0, "3": 1}).check()
    assert endpoint.read("/2/7/0").value == 3
    endpoint.delete("/2/7").check()
    assert endpoint.read("/2/7/0").code.value == "4.04"
