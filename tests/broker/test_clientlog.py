"""
Tests for L{twisted_mqtt.broker.clientlog}: one line for each client that comes, is refused, or goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import capturedLogs, formatEvent

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.config.values import RateLimit
from twisted_mqtt.core.reasons import BANNED
from twisted_mqtt.hooks.verdicts import AuthResult


class ClientLogTests(BrokerTestCase):
    """
    Clients of a broker in memory, and its log.
    """

    @contextmanager
    def lines(self) -> Iterator[list[str]]:
        """
        Get the log's lines about clients since.
        """
        said: list[str] = []
        with capturedLogs() as events:
            yield said
        said.extend(formatEvent(event) for event in events if event["log_namespace"] == "twisted_mqtt.broker.clientlog")

    def test_cameAndWent(self) -> None:
        """
        A line tells who came, as whom and from where; at the end, one tells why the client went and what it has done.
        """
        with self.lines() as lines:
            client = self.client("dev", username="bob")
            self.pass_(2.0)
            client.send(bytes.fromhex("c000"))
            client.send(bytes.fromhex("e00100"))
        came, went = lines
        self.assertTrue(came.startswith('connected: "dev" (user "bob") from '), came)
        self.assertIn(" on ", came)
        self.assertIn("MQTT 5.0", came)
        self.assertTrue(went.startswith('disconnected: "dev" (user "bob") from '), went)
        self.assertRegex(went, r": by its DISCONNECT; here for 2\.0 s, received 0 messages \(\d+ bytes\), sent 0 \(")

    def test_namesEndWhereTheyEnd(self) -> None:
        """
        A name with quotation marks can't pretend to be a name, a user and an address.
        """
        with self.lines() as lines:
            self.client('a" (user "root', username="x\\")
        self.assertTrue(lines[0].startswith('connected: "a\\" (user \\"root" (user "x\\\\") from '), lines[0])

    def test_cut(self) -> None:
        """
        A line about a client that is cut off has the reason code, and the fault.
        """
        client = self.client("dev")
        with self.lines() as lines:
            client.send(bytes.fromhex("30020001"))
        [line] = lines
        self.assertRegex(line, r'^disconnected: "dev" from .*: \w.* \(0x8[12]\): \w')
        taken = self.client("dev")
        with self.lines() as lines:
            self.client("dev")
        self.assertIn("session taken over (0x8e)", lines[0])
        taken.turn()

    def test_refused(self) -> None:
        """
        A line about a refused client has the reason: a ban, the answer of an authenticator, or that nobody knows it.
        """
        self.broker.bans.add("dev", "clientid", "scans")
        with self.lines() as lines:
            self.refused("dev", BANNED)
        [line] = lines
        self.assertRegex(line, r'^refused: "dev" from .*: banned \(0x8a\): its clientid dev is banned, scans$')
        self.hook("client.authenticate", AuthResult("bad_username_or_password"))
        with self.lines() as lines:
            self.refused("other", 0x86, username="eve")
        self.assertRegex(lines[0], r'^refused: "other" \(user "eve"\) from .*: bad username or password \(0x86\)$')
        self.begin(allow_anonymous=False)
        with self.lines() as lines:
            self.refused("other", 0x87)
        self.assertIn("nobody knows its name and password", lines[0])

    def test_neverCame(self) -> None:
        """
        A line tells of a client that sends something else than CONNECT, or nothing in time.
        """
        with self.lines() as lines:
            self.peer().send(bytes.fromhex("c000"))
        self.assertIn("a client without a name", lines[0])
        self.assertIn("refused: ", lines[0])
        with self.lines() as lines:
            self.peer()
            self.pass_(30.0)
        self.assertIn("no CONNECT in time", lines[0])

    def test_strangeNames(self) -> None:
        """
        Names are escaped and cut off: nobody writes a line of ours.
        """
        with self.lines() as lines:
            self.client("a\u2028b" + "x" * 1000, username="\x85root\u202e")
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].isprintable())
        self.assertIn('"a\\u2028bxxx', lines[0])
        self.assertLess(len(lines[0]), 300)

    def test_flood(self) -> None:
        """
        Beyond the rate of an address a line is a count, which is told at the end of the period; refusals have a rate of
        their own.
        """
        self.broker.registry.log.configure(RateLimit(4, 10.0, 4))
        with self.lines() as lines:
            for _ in range(20):
                self.client("dev").send(bytes.fromhex("e000"))
            self.broker.bans.add("dev", "clientid")
            self.refused("dev", BANNED)
        self.assertEqual([line.partition(":")[0] for line in lines], [*["connected", "disconnected"] * 2, "refused"])
        with self.lines() as lines:
            self.broker.registry.log.sweep(self.clock.seconds() + 10.0)
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].startswith("36 more comings and goings of clients from "), lines)

    def test_off(self) -> None:
        """
        Without a rate there are no such lines, and where nobody reads them neither.
        """
        self.broker.registry.log.configure(None)
        with self.lines() as lines:
            self.client("dev").send(bytes.fromhex("e000"))
        self.assertEqual(lines, [])
        self.broker.registry.log.configure(RateLimit(4, 10.0, 4))
        self.broker.registry.log.enabled = False
        with self.lines() as lines:
            self.client("dev").send(bytes.fromhex("e000"))
        self.assertEqual(lines, [])
