"""
MQTT.js, in every version of MQTT that it speaks. The scenarios themselves stand in C{mqttjs.js}.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.process import PATIENCE, Broker

_SCRIPT = Path(__file__).with_name("mqttjs.js")

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="needs node"),
    pytest.mark.skipif(
        not _SCRIPT.parents[1].joinpath("node_modules", "mqtt").exists(), reason="needs npm install in tests/"
    ),
]

EVERY_VERSION = ["everyQoS", "retained", "will", "session", "takeover", "largePayload"]
ONLY_FIVE = ["properties", "topicAlias", "sharedSubscription", "flowControl"]
CASES = [(scenario, version) for scenario in EVERY_VERSION for version in (3, 4, 5)]
CASES += [(scenario, 5) for scenario in ONLY_FIVE]


@pytest.mark.parametrize("scenario, version", CASES)
def test_scenario(broker: Broker, name: str, scenario: str, version: int) -> None:
    """
    The scenario goes as MQTT.js expects.
    """
    url = f"mqtt://{broker.host}:{broker.port}"
    command = ["node", str(_SCRIPT), scenario, url, name, str(version)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
