"""
Tests for L{twisted_mqtt.extensions.running}.
"""

from __future__ import annotations

from typing import Any

import twisted
from twisted.internet.defer import Deferred, TimeoutError
from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kits.extensions import Fault, Recorder, RecorderMaker, fault
from tests.kits.recording import RecordingBroker
from twisted_mqtt.config.registry import installed
from twisted_mqtt.extensions.makers import ExtensionMaker
from twisted_mqtt.extensions.running import (
    STOP_TIMEOUT,
    ExtensionError,
    Extensions,
)
from twisted_mqtt.interfaces import IExtension, IExtensionMaker
from twisted_mqtt.modules.presence import PresenceSettings
from twisted_mqtt.testing.extension import MemoryNode


class ExtensionsTests(SynchronousTestCase):
    """
    Tests for L{Extensions}.
    """

    def setUp(self) -> None:
        self.broker = RecordingBroker()
        self.events: list[str] = []
        self.makers = {name: RecorderMaker(name, self.events) for name in ("web_hook", "auth_http", "retainer")}
        self.settings: dict[str, Any] = {}
        self.extensions = Extensions(
            self.broker, MemoryNode(self.broker), self.settingsOf, lambda: self.makers.values()
        )

    def settingsOf(self, name: str) -> Any:
        """
        The settings of an extension; one that is an exception is raised.
        """
        settings = self.settings.get(name)
        if isinstance(settings, Exception):
            raise settings
        return settings

    def listed(self) -> list[str]:
        """
        The list as a person reads it.
        """
        return [str(each) for each in self.extensions.installed()]

    def refused(self, outcome: Deferred[Any]) -> str:
        """
        Why something was refused.
        """
        return str(self.failureResultOf(outcome, ExtensionError).value)

    def test_makers(self) -> None:
        """
        The extensions of these tests are what extensions have to be.
        """
        verifyObject(IExtensionMaker, self.makers["retainer"])
        verifyObject(IExtension, self.makers["retainer"].makeExtension(None))

    def test_list(self) -> None:
        """
        Installed extensions are listed by name, with whether they are running.
        """
        self.successResultOf(self.extensions.load("retainer"))
        self.assertEqual(
            self.listed(),
            [
                "Plugin (auth_http, version=v4.0.0, description=Notes what becomes of it, active=false)",
                "Plugin (retainer, version=v4.0.0, description=Notes what becomes of it, active=true)",
                "Plugin (web_hook, version=v4.0.0, description=Notes what becomes of it, active=false)",
            ],
        )

    def test_whatRunsIsKnown(self) -> None:
        """
        The disk is looked at for extensions that are not known yet, and for those alone: a reload asks for each several
        times, in the reactor's thread.
        """
        self.successResultOf(self.extensions.load("web_hook"))
        looks = []
        found = self.makers.values()
        self.extensions._makers = lambda: looks.append(1) or found
        self.assertTrue(self.extensions.isActive("emqx_web_hook"))
        self.assertIsNotNone(self.extensions.find("web_hook"))
        self.assertFalse(self.extensions.isActive("unknown"))
        self.assertFalse(self.extensions.isGateway("web_hook"))
        self.assertEqual(self.extensions.plainName("emqx_web_hook"), "web_hook")
        self.successResultOf(self.extensions.refresh("web_hook"))
        self.assertEqual(looks, [])
        self.makers["new"] = RecorderMaker("new", self.events)
        self.assertEqual(self.extensions.plainName("emqx_new"), "new")
        self.assertEqual(looks, [1])

    def test_texts(self) -> None:
        """
        Success is told in the words of the specification, under the name that was asked for.
        """
        for name in ("auth_http", "emqx_web_hook", "emq_mod_retainer"):
            self.assertEqual(self.successResultOf(self.extensions.load(name)), f"Plugin {name} loaded successfully.")
            self.assertTrue(self.extensions.isActive(name))
            self.assertEqual(
                self.successResultOf(self.extensions.reload(name)), f"Plugin {name} reloaded successfully."
            )
            self.assertEqual(
                self.successResultOf(self.extensions.unload(name)), f"Plugin {name} unloaded successfully."
            )
            self.assertFalse(self.extensions.isActive(name))

    def test_settings(self) -> None:
        """
        An extension gets its settings, by the name it has here.
        """
        self.settings["web_hook"] = "settings"
        self.successResultOf(self.extensions.load("emqx_web_hook"))
        self.assertEqual(self.makers["web_hook"].made[0].settings, "settings")
        self.assertIs(self.makers["web_hook"].made[0].broker, self.broker)

    def test_refusals(self) -> None:
        """
        An impossible change is refused, with the reason.
        """
        self.assertEqual(self.refused(self.extensions.load("nothing")), "Plugin nothing not found.")
        self.assertEqual(self.refused(self.extensions.reload("nothing")), "Plugin nothing not found.")
        self.assertEqual(self.refused(self.extensions.unload("nothing")), "Plugin nothing is not started.")
        self.assertEqual(self.refused(self.extensions.unload("retainer")), "Plugin retainer is not started.")
        self.successResultOf(self.extensions.load("retainer"))
        self.assertEqual(
            self.refused(self.extensions.load("emqx_retainer")), "Plugin emqx_retainer is already started."
        )
        self.assertEqual(self.events, ["start retainer"])

    def test_wrongSettings(self) -> None:
        """
        An extension whose settings are at fault is not made.
        """
        self.settings["retainer"] = ValueError("retainer.storage_type must be ram")
        self.assertEqual(
            self.refused(self.extensions.load("retainer")),
            "Plugin retainer cannot be made: retainer.storage_type must be ram",
        )
        self.assertFalse(self.extensions.isActive("retainer"))

    def test_doesNotStart(self) -> None:
        """
        An extension that fails to start is not running, and its callbacks are gone.
        """

        def half(extension: Recorder) -> None:
            extension.broker.hooks.messagePublish.add(print)
            raise Fault("no server")

        self.makers["retainer"].starting = half
        self.assertEqual(self.refused(self.extensions.load("retainer")), "Plugin retainer does not start: no server")
        self.assertFalse(self.extensions.isActive("retainer"))
        self.assertEqual(self.broker.hooks.messagePublish.callbacks, ())
        self.makers["retainer"].starting = lambda extension: None
        self.successResultOf(self.extensions.load("retainer"))

    def test_startWaits(self) -> None:
        """
        An extension runs once its start has finished; whoever asks for another meanwhile waits.
        """
        waiting: Deferred[None] = Deferred()
        self.makers["retainer"].starting = lambda extension: waiting
        first = self.extensions.load("retainer")
        second = self.extensions.unload("retainer")
        self.assertNoResult(first)
        self.assertFalse(self.extensions.isActive("retainer"))
        waiting.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.events, ["start retainer", "stop retainer"])

    def test_coroutines(self) -> None:
        """
        C{start} and C{stop} may be coroutines; what a start adds after it has waited is the extension's too.
        """
        waiting: Deferred[None] = Deferred()

        async def start(extension: Recorder) -> None:
            await waiting
            extension.broker.hooks.messagePublish.add(print)

        async def stop(extension: Recorder) -> None:
            self.events.append("stopped")

        self.makers["retainer"].starting = start
        loading = self.extensions.load("retainer")
        self.assertNoResult(loading)
        waiting.callback(None)
        self.successResultOf(loading)
        self.makers["retainer"].made[0].stopping = stop
        self.successResultOf(self.extensions.unload("retainer"))
        self.assertEqual(self.events, ["start retainer", "stop retainer", "stopped"])
        self.assertEqual(self.broker.hooks.messagePublish.callbacks, ())

    def test_leftovers(self) -> None:
        """
        Callbacks that an extension leaves on the hook points are removed, and nobody else's: those that it added at its
        start, and its methods whenever they were added.
        """
        self.makers["retainer"].starting = lambda extension: extension.broker.hooks.messagePublish.add(print)
        self.makers["web_hook"].starting = lambda extension: extension.broker.hooks.messagePublish.add(repr)
        self.successResultOf(self.extensions.load("retainer"))
        self.successResultOf(self.extensions.load("web_hook"))
        self.broker.hooks.messageAcked.add(self.makers["retainer"].made[0].hear)
        self.successResultOf(self.extensions.unload("retainer"))
        self.assertEqual(self.broker.hooks.messagePublish.callbacks, (repr,))
        self.assertEqual(self.broker.hooks.messageAcked.callbacks, ())

    def test_stopFails(self) -> None:
        """
        An extension that fails while it stops has stopped: logged, and its callbacks are gone.
        """
        self.makers["retainer"].starting = lambda extension: extension.broker.hooks.messagePublish.add(print)
        self.successResultOf(self.extensions.load("retainer"))
        self.makers["retainer"].made[0].stopping = fault
        self.successResultOf(self.extensions.unload("retainer"))
        self.assertFalse(self.extensions.isActive("retainer"))
        self.assertEqual(self.broker.hooks.messagePublish.callbacks, ())
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)

    def test_stopHangs(self) -> None:
        """
        An extension that does not finish stopping is given up after a while.
        """
        self.successResultOf(self.extensions.load("retainer"))
        self.makers["retainer"].made[0].stopping = lambda extension: Deferred()
        unloading = self.extensions.unload("retainer")
        self.broker.clock.advance(STOP_TIMEOUT - 1)
        self.assertNoResult(unloading)
        self.broker.clock.advance(2)
        self.successResultOf(unloading)
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)

    def test_reload(self) -> None:
        """
        Reloading stops the old one and starts a new one with the settings as they are now.
        """
        self.successResultOf(self.extensions.load("retainer"))
        self.settings["retainer"] = "changed"
        self.successResultOf(self.extensions.reload("retainer"))
        self.assertEqual(self.events, ["start retainer", "stop retainer", "start retainer"])
        self.assertEqual(self.makers["retainer"].made[1].settings, "changed")

    def test_reloadNotRunning(self) -> None:
        """
        Reloading one that is not running starts it.
        """
        self.successResultOf(self.extensions.reload("retainer"))
        self.assertEqual(self.events, ["start retainer"])

    def test_reloadWrongSettings(self) -> None:
        """
        Settings that are at fault leave the running one as it is.
        """
        self.successResultOf(self.extensions.load("retainer"))
        self.settings["retainer"] = ValueError("no")
        self.refused(self.extensions.reload("retainer"))
        self.assertEqual(self.events, ["start retainer"])
        self.assertTrue(self.extensions.isActive("retainer"))

    def test_all(self) -> None:
        """
        All start in the order given and stop the other way round.
        """
        self.successResultOf(self.extensions.startAll(["web_hook", "retainer", "auth_http"]))
        self.successResultOf(self.extensions.stopAll())
        self.assertEqual(
            self.events,
            [
                "start web_hook",
                "start retainer",
                "start auth_http",
                "stop auth_http",
                "stop retainer",
                "stop web_hook",
            ],
        )

    def test_allButOne(self) -> None:
        """
        When one does not start that the broker must not run without, the rest are not started, and those that are
        running can be stopped.
        """
        self.makers["retainer"].necessary = True
        self.makers["retainer"].starting = fault
        self.refused(self.extensions.startAll(["web_hook", "retainer", "auth_http"]))
        self.assertEqual(self.events, ["start web_hook", "start retainer"])
        self.successResultOf(self.extensions.stopAll())
        self.assertEqual(self.events, ["start web_hook", "start retainer", "stop web_hook"])


class ExtensionMakerTests(SynchronousTestCase):
    """
    Tests for L{ExtensionMaker}.
    """

    def test_provides(self) -> None:
        """
        It can stand in a module of C{twisted.plugins}.
        """
        maker = ExtensionMaker("presence", "no.such.module:Class", "Tells who comes and goes")
        verifyObject(IExtensionMaker, maker)
        self.assertTrue(IPlugin.providedBy(maker))

    def test_version(self) -> None:
        """
        Its version is that of the distribution it comes in; a tree that was never installed has one too.
        """
        self.assertEqual(ExtensionMaker("a", "b:C", "d", distribution="twisted").version, twisted.__version__)
        self.assertEqual(ExtensionMaker("a", "twisted.web:C", "d").version, twisted.__version__)
        self.assertEqual(ExtensionMaker("a", "b:C", "d", distribution="no-such-distribution").version, "0.0.0")

    def test_tableNeedsSettings(self) -> None:
        """
        A table without the structure of its keys is refused, and so is a structure without a table.
        """
        self.assertRaises(ValueError, ExtensionMaker, "a", "b:C", "d", table="a")
        self.assertRaises(ValueError, ExtensionMaker, "a", "b:C", "d", settings="b:S")

    def test_builtIn(self) -> None:
        """
        The extensions that come with the broker are found, can be made of their settings, and say what they do.
        """
        makers = {maker.name: maker for maker in getPlugins(IExtensionMaker)}
        for name in ("presence", "subscription", "rewrite"):
            declaration = installed().find(name)
            assert declaration is not None
            verifyObject(IExtensionMaker, makers[name])
            extension = makers[name].makeExtension(declaration.loadSettings()())
            verifyObject(IExtension, extension)
            self.assertTrue(makers[name].description)

    def test_imports(self) -> None:
        """
        It imports the extension when one is wanted, and gives it its settings.
        """
        maker = ExtensionMaker("presence", "twisted_mqtt.modules.presence:Presence", "Tells who comes and goes")
        extension = maker.makeExtension(PresenceSettings(qos=2))
        self.assertEqual(type(extension).__name__, "Presence")

    def test_withoutSettings(self) -> None:
        """
        An extension without settings is made of nothing.
        """
        maker = ExtensionMaker("dict", "builtins:dict", "Not really an extension")
        self.assertEqual(maker.makeExtension(None), {})
