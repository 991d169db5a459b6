"""
The permissions of clients: asks the access rules and remembers their answers.

It is compiled, because every connection and every topic goes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.broker.client import ClientInfo, KnownVerdicts
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.events import Switches
from twisted_mqtt.core.topicrules import PublishRules, TopicRules, allowsEverything
from twisted_mqtt.core.topics import DELAYED, afterDelay
from twisted_mqtt.hooks.packets import PacketContext, during
from twisted_mqtt.hooks.verdicts import ALLOW, DENY, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.core.connection import Connection
    from twisted_mqtt.hooks.points import Hooks
    from twisted_mqtt.interfaces import IClient


class KnownPermission:
    """
    An answer of the access rules for a client.

    @ivar access: C{"publish"} or C{"subscribe"}.
    @ivar topic: without the mount point.
    @ivar verdict: what they have said.
    @ivar seconds: for how many more it holds.
    """

    __slots__ = ("access", "seconds", "topic", "verdict")

    def __init__(self, access: str, topic: str, verdict: Verdict, seconds: float) -> None:
        self.access: str = access
        self.topic: str = topic
        self.verdict: Verdict = verdict
        self.seconds: float = seconds


class Permissions:
    """
    The permissions of a broker's clients.

    @ivar settings: the settings of the broker; may be exchanged.
    """

    def __init__(
        self,
        settings: Settings,
        hooks: Hooks,
        counters: Counters,
        switches: Switches,
        clients: dict[str, ClientInfo],
        now: Callable[[], float],
    ) -> None:
        """
        @param clients: those that are connected, by client identifier.
        @param now: tells the moment.
        """
        self.settings = settings
        self._point = hooks.clientCheckAcl
        self._counters = counters
        self._switches = switches
        self._clients = clients
        self._now = now
        self._nomatch: Verdict = ALLOW
        # For each callback in its turn, the function that makes its rules for a client that publishes; None if one of
        # the callbacks has none.
        self._rulesOf: tuple[Callable[[IClient], TopicRules | None], ...] | None = ()
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """
        Go by other settings: what was decided by the old ones is forgotten.
        """
        self.settings = settings
        self._nomatch = ALLOW if settings.acl_nomatch == "allow" else DENY
        self.changed()

    def changed(self) -> None:
        """
        There are other callbacks now.
        """
        self._switches.acl = bool(self._point.callbacks) or not self._nomatch.allowed
        self._rulesOf = self._point.publishRules
        self.forget()

    # Remembered verdicts

    def remembered(self, client: ClientInfo) -> list[KnownPermission]:
        """
        See C{rememberedPermissions} of L{twisted_mqtt.interfaces.IBroker}.
        """
        known = client.verdicts
        if known is None or known.generation != self._switches.aclGeneration:
            return []
        now = self._now()
        return [
            KnownPermission(access, topic, verdict, until - now)
            for (access, topic), (verdict, until) in known.cache.items()
            if until > now
        ]

    def forget(self, client: ClientInfo | None = None, topic: str | None = None) -> None:
        """
        See C{forgetPermissions} of L{twisted_mqtt.interfaces.IBroker}.
        """
        if topic is not None:
            for each in list(self._clients.values()) if client is None else [client]:
                self._forgetTopic(each, topic)
        elif client is not None:
            client.verdicts = None
            self.arrange(client)
        else:
            self._switches.aclGeneration += 1
            # There may be very many: what the core is to go by is worked out when each publishes next.
            for each in self._clients.values():
                connection = each.connection
                if connection is not None:
                    connection.exempt = False
                    connection.publishRules = None

    def _forgetTopic(self, client: ClientInfo, topic: str) -> None:
        known = client.verdicts
        if known is not None:
            # Another object, so that what is being asked about just now is not remembered either.
            kept = client.verdicts = KnownVerdicts(known.generation)
            for key, value in known.cache.items():
                if key[1] != topic:
                    kept.cache[key] = value
        if client.connection is not None:
            client.connection.disallow(topic)

    def arrange(self, client: ClientInfo) -> None:
        """
        Give a client's connection what the core can decide by itself, and take back what was decided before.
        """
        connection = client.connection
        if connection is None:
            return
        connection.forgetAllowed()
        connection.publishRules = None
        connection.exempt = client.isSuperuser or not client.options.enable_acl
        if connection.exempt or not self._switches.acl:
            return
        chain = self._compile(client)
        if chain is None:
            return
        if allowsEverything(chain, self._nomatch.allowed):
            connection.exempt = True
        else:
            connection.publishRules = PublishRules(chain, self._nomatch.allowed)

    def _arrangeAnew(self, client: ClientInfo, connection: Connection) -> None:
        if not connection.exempt and connection.publishRules is None:
            self.arrange(client)

    def _compile(self, client: ClientInfo) -> list[TopicRules] | None:
        sources = self._rulesOf
        if sources is None:
            return None
        chain: list[TopicRules] = []
        for rulesOf in sources:
            try:
                rules = rulesOf(client)
            except Exception:
                self._point.failed(rulesOf, Failure())
                return None
            if rules is None:
                return None
            chain.append(rules)
        return chain

    # Asking

    def authorize(
        self, client: ClientInfo, access: str, topic: str, packet: PacketContext | None = None
    ) -> Maybe[Verdict]:
        """
        See L{twisted_mqtt.interfaces.IBroker}.
        """
        switches = self._switches
        if client.isSuperuser or not switches.acl or not client.options.enable_acl:
            return ALLOW
        if access == "publish" and topic.startswith(DELAYED):
            # Who may delay messages may do so with those that he may publish.
            return then(self._ask(client, access, topic, packet), self._askAboutTheRest, client, topic, packet)
        return self._ask(client, access, topic, packet)

    def _askAboutTheRest(
        self, verdict: Verdict, client: ClientInfo, topic: str, packet: PacketContext | None
    ) -> Maybe[Verdict]:
        rest = afterDelay(topic)
        return self._ask(client, "publish", rest, packet) if verdict.allowed and rest else verdict

    def _ask(self, client: ClientInfo, access: str, topic: str, packet: PacketContext | None) -> Maybe[Verdict]:
        switches = self._switches
        known = client.verdicts
        if access == "publish":
            connection = client.connection
            if connection is not None:
                if known is None or known.generation != switches.aclGeneration:
                    self._arrangeAnew(client, connection)
                if connection.exempt:
                    return ALLOW
                if connection.publishRules is not None:
                    return ALLOW if connection.publishRules.allows(topic) else DENY
        if known is None or known.generation != switches.aclGeneration:
            known = client.verdicts = KnownVerdicts(switches.aclGeneration)
        else:
            before = known.cache.get((access, topic))
            if before is not None and before[1] > self._now():
                return before[0]
        self._counters.client_check_acl += 1
        point = self._point
        if not point.callbacks:
            return self._nomatch
        if packet is None:
            packet = PacketContext(client, access, topic)
        packet.rememberable = True
        verdict = during(packet, point.fold, client, access, topic, self._nomatch)
        return then(verdict, self._authorized, client, access, topic, packet, known)

    def _authorized(
        self,
        verdict: Verdict,
        client: ClientInfo,
        access: str,
        topic: str,
        packet: PacketContext,
        known: KnownVerdicts,
    ) -> Verdict:
        settings = self.settings
        most: int = settings.acl_cache_max_size
        if (
            not settings.enable_acl_cache
            or not most
            or not packet.rememberable
            or verdict.pause
            # The answer from before the change of the rules holds for this packet only.
            or known is not client.verdicts
            or known.generation != self._switches.aclGeneration
        ):
            return verdict
        cache = known.cache
        connection = client.connection
        if len(cache) >= most and (access, topic) not in cache:
            oldest = next(iter(cache))
            del cache[oldest]
            if connection is not None:
                connection.disallow(oldest[1])
        until: float = self._now() + settings.acl_cache_ttl
        cache[access, topic] = (verdict, until)
        if verdict.allowed and access == "publish" and connection is not None:
            # With this the core lets the next messages of this topic through by itself.
            connection.allow(topic, until)
        return verdict
