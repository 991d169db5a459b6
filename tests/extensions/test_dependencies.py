"""
Relations of extensions: which require which, which the broker must not run without, and what is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.extensions import Fault, Recorder, RecorderMaker, fault
from tests.kits.recording import RecordingBroker
from twisted_mqtt.extensions.loadedfile import Changes, LoadedFile, LoadedFileError
from twisted_mqtt.extensions.running import START_TIMEOUT, ExtensionError, Extensions
from twisted_mqtt.testing.extension import MemoryNode


class Table(Struct, frozen=True):
    """
    Settings of an extension.
    """

    port: int = 1


class DependencyTests(SynchronousTestCase):
    """
    Tests for L{Extensions}, of several extensions at once.
    """

    def setUp(self) -> None:
        self.broker = RecordingBroker()
        self.events: list[str] = []
        self.makers = {name: RecorderMaker(name, self.events) for name in ("database", "users", "web", "stomp")}
        self.makers["users"].requires = ("database",)
        self.makers["web"].requires = ("users",)
        self.makers["stomp"].gateway = True
        self.kept: list[Changes] = []
        self.settings: dict[str, Table] = {}
        self.readAgain: list[str] = []
        self.extensions = self.make()

    def make(self) -> Extensions:
        """
        Extensions of these makers.
        """
        return Extensions(
            self.broker,
            MemoryNode(self.broker),
            self.settings.get,
            lambda: self.makers.values(),
            keep=self.kept.append,
            readAgain=self.readAgain.append,
        )

    def refused(self, outcome: Deferred[Any]) -> str:
        """
        Why something was refused.
        """
        return str(self.failureResultOf(outcome, ExtensionError).value)

    def take(self) -> list[str]:
        """
        Get the events since the last call.
        """
        taken, self.events[:] = list(self.events), []
        return taken

    def state(self, name: str) -> str:
        """
        How an extension is.
        """
        status = self.extensions.status(name)
        assert status is not None
        return status.state

    def test_startsWhatIsRequired(self) -> None:
        """
        The extensions that one requires are started before it, once.
        """
        self.successResultOf(self.extensions.load("web"))
        self.assertEqual(self.take(), ["start database", "start users", "start web"])
        self.successResultOf(self.extensions.startAll(["users", "database"]))
        self.assertEqual(self.take(), [])

    def test_requiredFails(self) -> None:
        """
        Where what an extension requires does not start, it is not started; the text says which of them is at fault.
        """
        self.makers["database"].starting = fault
        text = self.refused(self.extensions.load("users"))
        self.assertEqual(text, "Plugin users requires database. Plugin database does not start: Fault")
        self.assertEqual(self.take(), ["start database"])
        states = [self.state(name) for name in ("database", "users", "web")]
        self.assertEqual(states, ["failed", "failed", "stopped"])

    def test_circle(self) -> None:
        """
        Extensions that require each other can't be started.
        """
        self.makers["database"].requires = ("web",)
        self.assertIn("requires itself: web -> users -> database -> web", self.refused(self.extensions.load("web")))
        self.assertEqual(self.take(), [])

    def test_missing(self) -> None:
        """
        A required extension must be installed.
        """
        del self.makers["database"]
        self.assertIn("requires database. Plugin database not found", self.refused(self.extensions.load("users")))

    def test_unloadRequired(self) -> None:
        """
        An extension that others require is not unloaded under them.
        """
        self.successResultOf(self.extensions.load("web"))
        self.take()
        self.assertEqual(
            self.refused(self.extensions.unload("database")),
            "Plugin database is required by users: unload that first.",
        )
        self.assertEqual(self.take(), [])
        for name in ("web", "users", "database"):
            self.successResultOf(self.extensions.unload(name))
        self.assertEqual(self.take(), ["stop web", "stop users", "stop database"])

    def test_reloadRequired(self) -> None:
        """
        When what others require is started again, they are too.
        """
        self.successResultOf(self.extensions.load("web"))
        self.take()
        self.successResultOf(self.extensions.reload("database"))
        self.assertEqual(
            self.take(),
            ["stop web", "stop users", "stop database", "start database", "start users", "start web"],
        )
        self.assertEqual(self.readAgain, ["database"])

    def test_stopAll(self) -> None:
        """
        At the end gateways stop first, and what is required after those that require it, whatever has started first.
        """
        self.successResultOf(self.extensions.load("stomp"))
        self.successResultOf(self.extensions.load("web"))
        self.take()
        self.successResultOf(self.extensions.stopAll())
        self.assertEqual(self.take(), ["stop stomp", "stop web", "stop users", "stop database"])

    def test_notNecessary(self) -> None:
        """
        One that does not start does not keep the others: there is an alarm, which goes when it starts.
        """
        self.makers["database"].starting = fault
        self.successResultOf(self.extensions.startAll(["database", "stomp", "nothing"][:2]))
        self.assertEqual(self.take(), ["start database", "start stomp"])
        self.assertEqual(sorted(self.broker.alarms.active), ["extension_database"])
        summary = self.broker.alarms.active["extension_database"].summary
        self.assertEqual(summary, "Plugin database does not start: Fault")
        self.assertEqual(self.state("database"), "failed")
        self.makers["database"].starting = lambda extension: None
        self.successResultOf(self.extensions.load("database"))
        self.assertEqual((self.state("database"), self.broker.alarms.active), ("running", {}))

    def test_failedIsUnloaded(self) -> None:
        """
        Unloading one that has failed says that it need not run: the alarm goes.
        """
        self.makers["database"].starting = fault
        self.refused(self.extensions.load("database"))
        self.successResultOf(self.extensions.unload("database"))
        self.assertEqual((self.state("database"), self.broker.alarms.active), ("stopped", {}))

    def test_necessary(self) -> None:
        """
        One that the broker must not run without is not unloaded.
        """
        self.makers["database"].necessary = True
        self.successResultOf(self.extensions.load("database"))
        self.assertIn("must not run without it", self.refused(self.extensions.unload("database")))
        self.assertEqual(self.state("database"), "running")

    def test_necessaryIsRefreshed(self) -> None:
        """
        Reloaded with the same settings, it reads its files again instead of being away for a moment.
        """
        self.makers["database"].necessary = True
        self.successResultOf(self.extensions.load("database"))
        made: Any = self.makers["database"].made[0]
        made.refresh = lambda: self.events.append("refresh")
        self.take()
        self.successResultOf(self.extensions.reload("database"))
        self.assertEqual(self.take(), ["refresh"])

        def wrong() -> None:
            raise Fault("line 3")

        made.refresh = wrong
        self.assertEqual(self.refused(self.extensions.reload("database")), "Plugin database goes on as it was: line 3")
        self.assertEqual(self.take(), [])

    def test_formerSettings(self) -> None:
        """
        One that does not start with its new settings runs on with those that it had.
        """

        def onlyPort1(extension: Recorder) -> None:
            if extension.settings != Table(1):
                raise Fault("port taken")

        self.settings["stomp"] = Table(1)
        self.makers["stomp"].starting = onlyPort1
        self.successResultOf(self.extensions.load("stomp"))
        self.settings["stomp"] = Table(2)
        text = self.refused(self.extensions.reload("stomp"))
        self.assertEqual(text, "Plugin stomp does not start: port taken It runs with its former settings.")
        status = self.extensions.status("stomp")
        assert status is not None
        self.assertEqual((status.state, status.settings), ("running", Table(1)))
        self.assertEqual(self.broker.alarms.active, {})

    def test_startHangs(self) -> None:
        """
        A start that does not end is given up, and the next one is tried.
        """
        self.makers["database"].starting = lambda extension: Deferred()
        starting = self.extensions.startAll(["database", "stomp"])
        self.broker.clock.advance(START_TIMEOUT - 1)
        self.assertNoResult(starting)
        self.assertEqual(self.state("database"), "starting")
        self.broker.clock.advance(2)
        self.successResultOf(starting)
        self.assertEqual((self.state("database"), self.state("stomp")), ("failed", "running"))

    def test_keep(self) -> None:
        """
        Loading and unloading for good is kept, by the names that extensions have here.
        """
        self.successResultOf(self.extensions.load("emqx_stomp", keep=True))
        self.successResultOf(self.extensions.load("database"))
        self.successResultOf(self.extensions.unload("database", keep=True))
        self.assertEqual(self.kept, [Changes(("stomp",)), Changes(("stomp",), ("database",))])
        self.assertEqual(self.extensions.wanted(("database", "web")), ["web", "stomp"])

    def test_keepFails(self) -> None:
        """
        Where it can't be kept, whoever asked is told that it was done all the same.
        """

        def full(changes: Changes) -> None:
            raise LoadedFileError("loaded_plugins: cannot be written (No space left on device)")

        self.extensions = Extensions(
            self.broker, MemoryNode(self.broker), self.settings.get, lambda: self.makers.values(), keep=full
        )
        self.assertIn("after a restart it is as before", self.refused(self.extensions.load("stomp", keep=True)))
        self.assertEqual(self.state("stomp"), "running")

    def test_wanted(self) -> None:
        """
        Extensions of every broker come first, gateways come last, and one that is not installed any more is left out.
        """
        self.makers["database"].always = True
        self.extensions.changes = Changes(("gone", "users"))
        self.assertEqual(self.extensions.wanted(("stomp", "web")), ["database", "web", "users", "stomp"])


def test_fileIsRead(tmp_path: Path) -> None:
    """
    The file of EMQ X will do; what differs is read back as it was written, and no file is no difference.
    """
    file = LoadedFile(tmp_path / "folder" / "loaded_plugins")
    assert file.read() == Changes()
    changes = Changes().withLoaded("a").withLoaded("b").withUnloaded("c").withLoaded("a").withUnloaded("b")
    assert changes == Changes(("a",), ("c", "b"))
    file.write(changes)
    assert file.read() == changes
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["loaded_plugins"]
    text = "%% from elsewhere\nemqx_management.\n\nemqx_retainer.\n-stomp\n"
    (tmp_path / "folder" / "loaded_plugins").write_text(text)
    assert file.read() == Changes(("emqx_management", "emqx_retainer"), ("stomp",))
    text = "{emqx_management, true}.\n{emqx_coap,false}.\n{ emqx_retainer , true } .\n"
    (tmp_path / "folder" / "loaded_plugins").write_text(text)
    assert file.read() == Changes(("emqx_management", "emqx_retainer"), ("emqx_coap",))


@pytest.mark.parametrize("content", [b"a b.", b"{a}.", b"{a, maybe}.", b"{a, true", b"../x.", b"\xff"])
def test_fileIsWrong(tmp_path: Path, content: bytes) -> None:
    """
    A file that says nothing that can be understood is refused by name, and not overwritten.
    """
    path = tmp_path / "loaded_plugins"
    path.write_bytes(content)
    with pytest.raises(LoadedFileError, match="loaded_plugins"):
        LoadedFile(path).read()
    assert path.read_bytes() == content


def test_fileCantBeWritten(tmp_path: Path) -> None:
    """
    Where it can't be written, that is said, and the old one stays.
    """
    (tmp_path / "file").write_text("")
    with pytest.raises(LoadedFileError, match="cannot be written"):
        LoadedFile(tmp_path / "file" / "loaded_plugins").write(Changes(("a",)))


def test_wantedOfChanges() -> None:
    """
    An extension that was unloaded for good does not run although it is named; one that was loaded for good does.
    """
    assert Changes(("c", "a"), ("b",)).wanted(("a", "b")) == ["a", "c"]
