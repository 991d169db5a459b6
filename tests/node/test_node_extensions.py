"""
The node's part in extensions: their tables are read again, and changes are kept across restarts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from twisted_mqtt.config import readSettings
from twisted_mqtt.extensions.running import ExtensionError
from twisted_mqtt.modules.presence import PresenceSettings
from twisted_mqtt.node.service import BrokerService

reactor: Any = installedReactor

FILE = """
[node]
data_dir = "{folder}"
[listener.tcp.external]
bind = "127.0.0.1:0"
[module.presence]
qos = {qos}
"""


class NodeExtensionsTests(TestCase):
    """
    Tests for the extensions of a L{BrokerService}.
    """

    def setUp(self) -> None:
        """
        Have a folder, and a file with settings.
        """
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.write(0)

    def write(self, qos: object) -> None:
        """
        Write the file.
        """
        (self.folder / "broker.toml").write_text(FILE.format(folder=self.folder, qos=qos))

    @inlineCallbacks
    def start(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        Start a broker that goes by the file.
        """
        service = BrokerService(readSettings(self.folder / "broker.toml", {}), reactor)
        service.startService()
        self.addCleanup(lambda: service.running and service.stopService())
        yield service.ready
        return service

    def qosOf(self, service: BrokerService) -> int:
        """
        With which quality of service presence was started.
        """
        status = service.extensions.status("presence")
        assert status is not None and isinstance(status.settings, PresenceSettings)
        return status.settings.qos

    @inlineCallbacks
    def test_reload(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        Reloading an extension goes by its table as it stands in the file now; unloading and loading it does not. The
        rest of the file does not hold yet.
        """
        service = yield self.start()
        self.write(2)
        with (self.folder / "broker.toml").open("a") as file:
            file.write("[broker]\nshared_subscription_strategy = 'sticky'\n")
        before = service.settings.current.broker
        yield service.extensions.unload("presence")
        yield service.extensions.load("presence")
        self.assertEqual(self.qosOf(service), 0)
        yield service.extensions.reload("emqx_mod_presence")
        self.assertEqual(self.qosOf(service), 2)
        self.assertEqual(service.settings.current.broker, before)

    @inlineCallbacks
    def test_reloadWrongFile(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        A file that can't be used is told of, and the extension goes on.
        """
        service = yield self.start()
        self.write(7)
        error = yield self.assertFailure(service.extensions.reload("presence"), ExtensionError)
        self.assertIn("module.presence.qos = 7", str(error))
        self.assertEqual(self.qosOf(service), 0)
        self.assertTrue(service.extensions.isActive("presence"))

    @inlineCallbacks
    def test_kept(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        Loading and unloading for good holds after a restart.
        """
        service = yield self.start()
        yield service.extensions.unload("presence", keep=True)
        yield service.extensions.load("rewrite", keep=True)
        yield service.extensions.load("delayed_publish")
        self.assertEqual((self.folder / "loaded_plugins").read_text(), "rewrite.\n-presence.\n")
        yield service.stopService()
        again = yield self.start()
        active = {each.name for each in again.extensions.installed() if each.active}
        self.assertEqual(active & {"presence", "rewrite", "delayed_publish"}, {"rewrite"})

    @inlineCallbacks
    def test_fileOfEMQX(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        With the names of EMQ X an extension starts once, although the configuration names it too, and does not start
        where the file says so; what is said of it later takes the place of that line.
        """
        file = self.folder / "loaded_plugins"
        file.write_text("{emqx_mod_rewrite, true}.\nemqx_rewrite.\n{emqx_mod_presence, false}.\nemqx_dashboard.\n")
        service = yield self.start()
        self.assertEqual(service.broker.alarms.active, {})
        self.assertTrue(service.extensions.isActive("rewrite"))
        self.assertFalse(service.extensions.isActive("presence"))
        yield service.extensions.unload("rewrite", keep=True)
        self.assertEqual(file.read_text(), "emqx_dashboard.\n-presence.\n-rewrite.\n")
        yield service.stopService()
        again = yield self.start()
        self.assertFalse(again.extensions.isActive("rewrite"))

    @inlineCallbacks
    def test_keptNoMore(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        A line that somebody takes out of that file holds no more when the configuration is read again; a file that is
        none is told of, and changes nothing.
        """
        service = yield self.start()
        file = self.folder / "loaded_plugins"
        yield service.extensions.unload("presence", keep=True)
        yield service.extensions.load("rewrite", keep=True)
        file.write_text("what is this?\n")
        report = yield service.reload()
        self.assertIn("loaded_plugins:1", report.problems[0])
        self.assertTrue(service.extensions.isActive("rewrite"))
        self.assertFalse(service.extensions.isActive("presence"))
        file.unlink()
        report = yield service.reload()
        self.assertEqual(report.problems, [])
        self.assertFalse(service.extensions.isActive("rewrite"))
        self.assertTrue(service.extensions.isActive("presence"))
