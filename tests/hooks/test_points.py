"""
Tests for L{twisted_mqtt.hooks.points}: the points, and who is registered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.hooks import Fault, answering, raising
from twisted_mqtt.hooks.kinds import FoldPoint, RunPoint
from twisted_mqtt.hooks.points import Hooks
from twisted_mqtt.hooks.registration import hookOwner
from twisted_mqtt.hooks.verdicts import OK, STOP, AuthResult, HookExists

POINTS = {
    "client.connect": "fold",
    "client.connack": "fold",
    "client.connected": "run",
    "client.disconnected": "run",
    "client.authenticate": "fold",
    "client.enhanced_authenticate": "fold",
    "client.check_acl": "fold",
    "client.subscribe": "fold",
    "client.unsubscribe": "fold",
    "session.created": "run",
    "session.subscribed": "run",
    "session.unsubscribed": "run",
    "session.resumed": "run",
    "session.discarded": "run",
    "session.takeovered": "run",
    "session.terminated": "run",
    "message.publish": "fold",
    "message.queued": "run",
    "message.delivered": "fold",
    "message.acked": "run",
    "message.dropped": "run",
}


class HooksTests(SynchronousTestCase):
    """
    Tests for L{Hooks} as a catalogue.
    """

    def setUp(self) -> None:
        self.hooks = Hooks(Clock())

    def test_points(self) -> None:
        """
        There are the nineteen points of the specification and two more, each of its kind.
        """
        self.assertEqual({point.name: point.kind for point in self.hooks}, POINTS)
        self.assertEqual(len(self.hooks), 21)

    def test_attributes(self) -> None:
        """
        Each point is an attribute under its name in mixed case, and that is the same object.
        """
        for name in POINTS:
            first, *rest = name.replace("_", ".").split(".")
            attribute = first + "".join(word.capitalize() for word in rest)
            self.assertIs(getattr(self.hooks, attribute), self.hooks[name])

    def test_described(self) -> None:
        """
        The documentation's table has each point once, with its attribute and kind.
        """
        text = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| `(\w+)` \| (\w+) \|", text, re.MULTILINE)
        self.assertEqual({name: kind for name, _, kind in rows}, POINTS)
        self.assertEqual(len(rows), 21)
        for name, attribute, _ in rows:
            self.assertIs(getattr(self.hooks, attribute), self.hooks[name])

    def test_kinds(self) -> None:
        """
        Points that pass a value along have C{fold}, the others C{run}.
        """
        for point in self.hooks:
            self.assertIsInstance(point, FoldPoint if point.kind == "fold" else RunPoint)

    def test_olderName(self) -> None:
        """
        The older name of C{message.delivered} means the same point.
        """
        self.assertIs(self.hooks["message.deliver"], self.hooks.messageDelivered)
        self.assertIn("message.deliver", self.hooks)

    def test_misspelt(self) -> None:
        """
        A name that does not exist is an error that names the nearest one.
        """
        with self.assertRaises(KeyError) as raised:
            self.hooks["message.publsh"]
        self.assertEqual(raised.exception.args, ("no hook point 'message.publsh'; did you mean 'message.publish'?",))
        self.assertNotIn("message.publsh", self.hooks)

    def test_misspeltAttribute(self) -> None:
        """
        So is an attribute that does not exist.
        """
        with self.assertRaises(AttributeError) as raised:
            self.hooks.messagePublsh  # noqa: B018  # it is the reading that raises
        self.assertEqual(str(raised.exception), "no hook point 'messagePublsh'; did you mean 'messagePublish'?")
        self.assertFalse(hasattr(self.hooks, "zzz"))

    def test_nowhereNear(self) -> None:
        """
        A name that resembles none is an error that lists them all.
        """
        with self.assertRaises(KeyError) as raised:
            self.hooks["zzz"]
        for name in POINTS:
            self.assertIn(name, raised.exception.args[0])

    def test_byName(self) -> None:
        """
        C{hook}, C{runHook}, C{runFoldHook} and C{unhook} do by name what the points do.
        """
        heard: list[Any] = []
        tell, rename = answering(None, heard), answering({"a": 1}, heard)
        self.hooks.hook("message.acked", tell, args=("env",))
        self.hooks.hook("client.subscribe", answering(["b"]))
        self.assertIs(self.hooks.runHook("message.acked", ["client", "message"]), OK)
        self.assertEqual(heard, [("client", "message", "env")])
        self.assertEqual(self.hooks.runFoldHook("client.subscribe", ["client", None], ["a"]), ["b"])
        self.assertTrue(self.hooks.unhook("message.acked", tell))
        self.assertFalse(self.hooks.unhook("message.acked", rename))
        self.assertEqual(self.hooks.messageAcked.callbacks, ())

    def test_runHookSaysStop(self) -> None:
        """
        C{runHook} says when a callback ended the chain, also when it had to wait for that.
        """
        waiting: Deferred[Any] = Deferred()
        self.hooks.messageAcked.add(answering(waiting))
        answer = self.hooks.runHook("message.acked", [])
        self.assertNoResult(answer)
        waiting.callback(STOP)
        self.assertIs(self.successResultOf(answer), STOP)

    def test_wrongKind(self) -> None:
        """
        Folding a point that only tells, or running one that folds, is an error.
        """
        self.assertRaises(TypeError, self.hooks.runHook, "message.publish", [])
        self.assertRaises(TypeError, self.hooks.runFoldHook, "message.acked", [], None)

    def test_changed(self) -> None:
        """
        An observer is told of each point whose callbacks have changed, after the change.
        """
        changes: list[Any] = []
        self.hooks.changed = lambda point: changes.append((point.name, len(point.callbacks)))
        callback = answering(None)
        self.hooks.messagePublish.add(callback)
        self.hooks.messagePublish.remove(callback)
        self.assertEqual(changes, [("message.publish", 1), ("message.publish", 0)])

    def test_ownedBy(self) -> None:
        """
        Callbacks that were added on behalf of an owner, or are its methods, can be found.
        """

        class Extension:
            def hear(self) -> None:
                """
                Added later, while nobody was the owner.
                """

        extension = Extension()
        during = answering(None)
        token = hookOwner.set(extension)
        self.hooks.messagePublish.add(during)
        hookOwner.reset(token)
        self.hooks.messageAcked.add(extension.hear)
        self.hooks.messageAcked.add(Extension().hear)
        self.hooks.messageAcked.add(answering(None))
        found = [(point.name, registration.action) for point, registration in self.hooks.ownedBy(extension)]
        self.assertEqual(found, [("message.publish", during), ("message.acked", extension.hear)])


class RegistrationTests(SynchronousTestCase):
    """
    Tests for adding to and removing from a point.
    """

    def setUp(self) -> None:
        self.point = Hooks(Clock()).messageAcked
        self.order: list[str] = []

    def note(self, name: str) -> Callable[..., None]:
        """
        Make a callback that notes that it was called.
        """
        return lambda *args: self.order.append(name)

    def test_empty(self) -> None:
        """
        A point nobody is interested in holds an empty tuple, and again after the last callback has gone.
        """
        self.assertEqual(self.point.callbacks, ())
        callback = self.note("a")
        self.point.add(callback)
        self.assertEqual(len(self.point.callbacks), 1)
        self.assertTrue(self.point.remove(callback))
        self.assertEqual(self.point.callbacks, ())

    def test_order(self) -> None:
        """
        Higher priorities are called first, equal ones in the order in which they were added.
        """
        for name, priority in (("d", -1), ("b", 0), ("a", 7), ("c", 0)):
            self.point.add(self.note(name), priority=priority)
        self.point.run()
        self.assertEqual(self.order, ["a", "b", "c", "d"])

    def test_exists(self) -> None:
        """
        One action stands on one point once, whatever its priority; the refused one changes nothing.
        """
        callback = self.note("a")
        self.point.add(callback)
        self.assertRaises(HookExists, self.point.add, callback, priority=1)
        self.point.run()
        self.assertEqual(self.order, ["a"])

    def test_sameMethod(self) -> None:
        """
        A method is the same action each time it is looked up, and can be removed by looking it up again.
        """
        self.point.add(self.hear)
        with self.assertRaises(HookExists) as raised:
            self.point.add(self.hear)
        self.assertIn("hear is already a callback of message.acked", str(raised.exception))
        self.assertTrue(self.point.remove(self.hear))

    def hear(self, *args: object) -> None:
        """
        A callback that is a method.
        """

    def test_args(self) -> None:
        """
        A callback's own arguments come after those of the point.
        """
        heard: list[Any] = []
        self.point.add(answering(None, heard), args=["x", "y"])
        self.point.run("client", "message")
        self.assertEqual(heard, [("client", "message", "x", "y")])

    def test_filter(self) -> None:
        """
        A callback whose filter says no is passed over; the filter sees the point's arguments only.
        """
        heard: list[Any] = []
        self.point.add(answering(None, heard), filter=lambda number: number > 1, args=("env",))
        for number in (1, 2):
            self.point.run(number)
        self.assertEqual(heard, [(2, "env")])

    def test_removeWithFilter(self) -> None:
        """
        An action is known by itself, whatever filter and arguments it was added with.
        """
        callback = self.note("a")
        self.point.add(callback, filter=bool, args=("env",))
        self.assertTrue(self.point.remove(callback))
        self.assertEqual(self.point.callbacks, ())

    def test_filterRaises(self) -> None:
        """
        A filter that raises counts as its callback failing.
        """
        self.point.add(self.note("a"), filter=raising)
        self.point.add(self.note("b"))
        self.point.run()
        self.assertEqual(self.order, ["b"])
        self.assertEqual(self.point.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)

    def test_changeWhileRunning(self) -> None:
        """
        A chain that is running calls those that were there when it began.
        """
        late = self.note("late")

        def change(*args: object) -> None:
            self.point.remove(gone)
            self.point.add(late)

        gone = self.note("gone")
        self.point.add(change)
        self.point.add(gone)
        self.point.run()
        self.assertEqual(self.order, ["gone"])
        self.point.remove(change)
        self.point.run()
        self.assertEqual(self.order, ["gone", "late"])

    def test_listed(self) -> None:
        """
        Callbacks can be listed in the order of calling.
        """
        first, second = self.note("a"), self.note("b")
        self.point.add(second, args=(1,))
        self.point.add(first, priority=2)
        listed = [(each.action, each.priority, each.args) for each in self.point]
        self.assertEqual(listed, [(first, 2, ()), (second, 0, (1,))])


class AuthResultTests(SynchronousTestCase):
    """
    Tests for L{AuthResult}.
    """

    def test_default(self) -> None:
        """
        Made of nothing it is a plain success.
        """
        result = AuthResult()
        self.assertTrue(result.success)
        self.assertEqual((result.reasonCode, result.isSuperuser, result.anonymous), (0, False, False))
        self.assertIsNone(result.mountpoint)

    def test_reasons(self) -> None:
        """
        A reason is named or given as a code.
        """
        for reason, code in (("not_authorized", 0x87), (0x86, 0x86), ("password_error", 0x86), ("banned", 0x8A)):
            self.assertEqual(AuthResult(reason).reasonCode, code)
            self.assertFalse(AuthResult(reason).success)

    def test_noReason(self) -> None:
        """
        A reason that a CONNACK cannot have is an error where the callback makes it; C{False} is not the code of
        success.
        """
        for wrong in ("no such reason", 1, 0x8E, True, False, ""):
            self.assertRaises(ValueError, AuthResult, wrong)

    def test_shown(self) -> None:
        """
        Its text has what matters in a log, and no authentication data.
        """
        shown = repr(AuthResult("success", isSuperuser=True, data=b"secret proof"))
        self.assertEqual(shown, "AuthResult('success', isSuperuser=True)")

    def test_equal(self) -> None:
        """
        Results are equal that say the same.
        """
        self.assertEqual(AuthResult(anonymous=True), AuthResult(anonymous=True))
        self.assertNotEqual(AuthResult(anonymous=True), AuthResult())
        self.assertNotEqual(AuthResult(), "success")
