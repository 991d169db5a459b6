"""
docs/operations.md names each alarm of the monitors, with its cause and what to do.
"""

import re
from pathlib import Path

from twisted_mqtt.broker import limitreports, memoryguard, storelimit, storeowner
from twisted_mqtt.monitoring import processmonitor, systemmonitor

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def rows() -> dict[str, list[str]]:
    """
    The rows of the table, by the names of their alarms.
    """
    table = TEXT[TEXT.index("| alarm | cause | what to do |") :].partition("\n\n")[0]
    found = {}
    for line in table.splitlines()[2:]:
        names, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        found.update(dict.fromkeys(re.findall(r"`([^`]+)`", names), cells))
    return found


def test_each() -> None:
    """
    None is left out, and each has a cause and a remedy.
    """
    named = rows()
    source = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (systemmonitor, processmonitor))
    raised = set(re.findall(r'(?:mark\(|broker\.alarms, )f?"([a-z_]+)', source))
    assert len(raised) > 10
    raised |= {memoryguard.ALARM, storelimit.ALARM, storeowner.ALARM, storeowner.LOST, "limit_<name>"}
    assert limitreports.LIMITS
    assert {name for name in raised if name not in named and f"{name}.<table>" not in named} == set()
    for name, cells in named.items():
        assert len(cells) == 2 and all(cells), name
