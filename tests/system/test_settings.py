"""
Settings changed while a real broker runs: what holds for whom, and that a restart keeps it.
"""

import contextlib
from pathlib import Path

from tests.system.conftest import configuration
from tests.system.process import Broker, fromTree, startTwistd, toml, twistdCommand
from tests.system.rawclient import serves

# A broker that changes a key as soon as clients can connect.
PROGRAM = """\
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from twisted_mqtt.config import readSettings
from twisted_mqtt.node.service import makeBrokerService

application = Application("mqttbroker")
service = makeBrokerService(readSettings("mqttbroker.toml", {}), reactor)
service.setServiceParent(application)


async def change(service):
    report = await service.settings.change({"zone.external.allow_anonymous": "false", "node.name": "other@h"})
    print("changed", report.done, report.restart, report.problems, flush=True)


service.ready.addCallback(lambda service: Deferred.fromCoroutine(change(service)))
"""


def test_changeIsKept(tmp_path: Path, name: str) -> None:
    """
    A change holds for those who connect from then on; the next start goes by it as well, and by what had to wait.
    """
    tables = configuration(tmp_path)
    (tmp_path / "mqttbroker.toml").write_text(toml(tables))
    (tmp_path / "broker.tac").write_text(PROGRAM)
    broker = Broker([*twistdCommand(), "--python", "broker.tac"], tmp_path, fromTree()).started(1)
    with contextlib.ExitStack() as ending:
        ending.callback(broker.stop)
        said = broker.waitFor(r"changed (\[.*)")
        assert "'zone.external.allow_anonymous: holds for clients that connect from now on'" in said[0][1]
        assert said[0][1].endswith("['node.name'] []")
        assert not serves(broker, name)
    for override, comesIn in ((True, False), (False, True)):
        if not override:
            (tmp_path / "mqttbroker.overrides.toml").unlink()
        broker = startTwistd(tmp_path, tables)
        with contextlib.ExitStack() as ending:
            ending.callback(broker.stop)
            assert serves(broker, name) is comesIn
