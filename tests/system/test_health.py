"""
Health from the first to the last breath of a process, as load balancers and Kubernetes ask for it; and the page that
shows it, in headless Chromium.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from tests.system.conftest import StartBroker, configuration
from tests.system.metricservers import eventually
from tests.system.process import PATIENCE, Broker, fromTree, toml, twistdCommand
from tests.system.rawclient import accepted

_CHROMIUM = Path("/usr/bin/chromium")
_DRIVER = Path("/usr/bin/chromedriver")

PLUGIN = """
from twisted_mqtt.extensions.makers import ExtensionMaker

slow = ExtensionMaker("slow", "slowextension:Slow", "Takes its time")
"""

EXTENSION = """
import os

from twisted.internet.task import deferLater
from zope.interface import implementer

from twisted_mqtt.interfaces import IExtension


@implementer(IExtension)
class Slow:
    async def start(self, context):
        while not os.path.exists("begin"):
            await deferLater(context.clock, 0.02)
"""

MANAGED = {"plugins": {"load": ["management"]}, "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}}}
ODD_NAME = "<img src=x onerror=document.title=1>"


def ask(port: int, path: str, accept: str = "*/*") -> tuple[int, str]:
    """
    Status and body.
    """
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Broker]:
    """
    A broker with an extension that starts when the file "begin" is there.
    """
    plugins = tmp_path / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "slow_plugin.py").write_text(PLUGIN)
    (tmp_path / "slowextension.py").write_text(EXTENSION)
    tables: dict[str, Any] = {**configuration(tmp_path), **MANAGED, "plugins": {"load": ["management", "slow"]}}
    tables["node"]["shutdown_timeout"] = "3s"
    tables["listener"]["ws"] = {"external": {"bind": "127.0.0.1:0"}}
    file = tmp_path / "mqttbroker.toml"
    file.write_text(toml(tables))
    environment = fromTree()
    environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    broker = Broker([*twistdCommand(), "mqttbroker", "--config", file], tmp_path, environment)
    yield broker
    broker.end(signal.SIGKILL)


def test_life(slow: Broker, tmp_path: Path) -> None:
    """
    A process that starts or ends is alive and not ready; between the two it is both.
    """
    (listening,) = slow.waitFor(r"listening: management:http on \S+:(\d+) ")
    port = int(listening[1])
    starting = (503, '{"status":"DOWN","reasons":["The node is starting"]}')
    assert ask(port, "/health") == starting
    assert ask(port, "/health/ping") == (200, '{"status":"OK"}')
    assert ask(port, "/status") == (503, "The node is starting\n")

    (tmp_path / "begin").touch()
    slow.started(3)
    eventually(lambda: ask(port, "/health") == (200, '{"status":"OK"}') or None, "readiness")
    running = (200, "Node test@127.0.0.1 is started\n")
    assert ask(port, "/status") == running
    # On the port of the clients, for load balancers that have always asked there.
    assert ask(slow.ports["listener.ws.external"], "/status") == running
    assert ask(slow.ports["listener.ws.external"], "/mqtt/status") == running

    with closing(socket.create_connection(("127.0.0.1", slow.port))), closing(accepted(slow, "deaf")):
        # Neither goes when it is told to, so that the end takes its time.
        slow.process.send_signal(signal.SIGTERM)
        status, body = eventually(lambda: None if (now := ask(port, "/health"))[0] == 200 else now, "the end")
        assert status == 503 and "The node is shutting down" in json.loads(body)["reasons"]
        assert ask(port, "/health/ping") == (200, '{"status":"OK"}')
        status, body = ask(port, "/status")
        assert status == 503 and body.startswith("The node is shutting down\n")


@pytest.fixture(scope="module", params=["light", "dark"])
def chromium(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """
    A browser whose user likes it light or dark.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "no-proxy-server",
        "window-size=1100,900",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(_DRIVER)))
    theme = {"name": "prefers-color-scheme", "value": request.param}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
    driver.theme = request.param
    yield driver
    driver.quit()


@pytest.mark.skipif(not _DRIVER.exists(), reason="needs a browser (Debian: chromium, chromium-driver)")
def test_page(startBroker: StartBroker, chromium: Any) -> None:
    """
    The page shows the node, its ports and alarms; what has odd names is text and nothing else; when the broker is gone
    it says so, and keeps what it has seen. Its colours are those that the user likes.
    """
    tables: dict[str, Any] = {
        **MANAGED,
        "plugins": {"load": ["management", "graphite", "mqttsn"]},
        "graphite": {"host": "127.0.0.1", "port": 1},
        "listener": {"tcp": {"external": {"bind": "127.0.0.1:0", "topic_tree": ODD_NAME}}},
        "mqtt": {"sn": {"port": "127.0.0.1:0"}},
    }
    broker = startBroker(tables, 3)
    broker.waitFor("does not take metrics")
    wait = WebDriverWait(chromium, PATIENCE)
    with closing(accepted(broker, "a")):
        chromium.get(f"http://127.0.0.1:{broker.ports['management.listener.http']}/status")
        wait.until(lambda driver: "Ports" in driver.find_element("tag name", "main").text)
        text = chromium.find_element("tag name", "main").text
    lines = text.splitlines()
    assert lines[0] == "test@127.0.0.1" and "Ready" in lines[:3]
    assert lines[lines.index("Clients") + 1] == "1"
    assert any(line.startswith(f"mqtt 127.0.0.1:{broker.port} {ODD_NAME} ") for line in lines)
    assert any(re.fullmatch(r"mqttsn:udp 127\.0\.0\.1:[0-9]+ – – running", line) for line in lines), lines
    assert "graphite_down" in text and "Connection was refused" in text
    assert chromium.title == "test@127.0.0.1: status"
    assert chromium.execute_script("return document.images.length") == 0
    background = chromium.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(244, 246, 248)", "dark": "rgb(17, 22, 28)"}[chromium.theme]
    # Nothing is cut off, and nothing was refused by the page's policy.
    isWhole = "return document.documentElement.scrollWidth <= window.innerWidth"
    assert chromium.execute_script(isWhole)
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert chromium.execute_script(isWhole)
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert chromium.get_log("browser") == []

    broker.stop()
    wait.until(lambda driver: "Nothing new is to be had" in driver.find_element("id", "lost").text)
    assert "test@127.0.0.1" in chromium.find_element("id", "nodes").text
