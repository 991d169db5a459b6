"""
Properties of L{twisted_mqtt.broker.permissions}: whatever is remembered, the answer is that of asking.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.task import Clock

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.core.packets import Auth
from twisted_mqtt.core.topicrules import TopicRule, TopicRules
from twisted_mqtt.core.topics import matches
from twisted_mqtt.hooks.packets import thisPacket
from twisted_mqtt.hooks.verdicts import ALLOW, DENY, STOP, AuthResult
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer, propertiesOf

CLIENTS: Final = ("one", "two")
TOPICS: Final = ("a", "b", "a/b", "$x")
FILTERS: Final = (None, "a", "b", "a/#", "#", "+")

RULES = st.lists(st.tuples(st.booleans(), st.sampled_from(FILTERS)), max_size=3)


class Judge:
    """
    A callback of C{client.check_acl} that goes by rules: for each client those before it in C{rules}.

    @ivar kind: C{"plain"}, C{"told"} (which tells its rules beforehand) or C{"packet"} (which asks for the payload).
    """

    def __init__(self, kind: str, final: bool, rules: dict[str, list[tuple[bool, str | None]]]) -> None:
        self.kind = kind
        self.final = final
        self.rules = rules
        # Of whom it tells nothing beforehand, though it could.
        self.silentOf: set[str] = set()

    def decide(self, client: Any, topic: str, payload: bytes) -> bool | None:
        """
        Get its answer; L{None} for no opinion.
        """
        if self.kind == "packet":
            return None if payload == b"0" else payload == b"1"
        for allow, topicFilter in self.rules[client.clientID]:
            if topicFilter is None or matches(topicFilter, topic):
                return allow
        return None

    def __call__(self, client: Any, access: str, topic: str, verdict: Any) -> Any:
        packet = thisPacket()
        assert packet is not None
        allowed = self.decide(client, topic, packet.payload)
        if allowed is None:
            return None
        answer = ALLOW if allowed else DENY
        return STOP(answer) if self.final else answer

    def publishRules(self, client: Any) -> TopicRules | None:
        """
        Get the rules that it tells beforehand.
        """
        if client.clientID in self.silentOf:
            return None
        return TopicRules([TopicRule(*each) for each in self.rules[client.clientID]], self.final)


class Permitted(RuleBasedStateMachine):
    """
    A broker with callbacks that come and go, and clients that publish.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.judges: list[tuple[int, Judge]] = []
        self.superusers: set[str] = set()

    @initialize(nomatch=st.sampled_from(["allow", "deny"]), size=st.sampled_from([1, 2, 32]))
    def begin(self, nomatch: str, size: int) -> None:
        """
        Start, with two clients.
        """
        self.broker, factory = makeBroker(self.clock)
        self.nomatch = nomatch == "allow"
        self.broker.settings = type(self.broker.settings)(
            **{
                **{name: getattr(self.broker.settings, name) for name in self.broker.settings.__struct_fields__},
                "acl_nomatch": nomatch,
                "acl_cache_max_size": size,
            }
        )
        self.broker.permissions.configure(self.broker.settings)
        self.broker.hooks.clientEnhancedAuthenticate.add(
            lambda client, method, data, state, result: AuthResult(isSuperuser=data == b"super")
        )
        self.peers = {name: Peer(factory, self.clock) for name in CLIENTS}
        for name, peer in self.peers.items():
            peer.connect(name, authMethod="m")

    @precondition(lambda self: len(self.judges) < 3)
    @rule(
        kind=st.sampled_from(["plain", "told", "told", "packet"]),
        final=st.booleans(),
        priority=st.integers(-2, 2),
        one=RULES,
        two=RULES,
    )
    def add(self, kind: str, final: bool, priority: int, one: Any, two: Any) -> None:
        """
        Another callback.
        """
        judge = Judge(kind, final, {"one": one, "two": two})
        if kind == "told":
            self.broker.hooks.clientCheckAcl.add(judge, priority=priority, publishRules=judge.publishRules)
        else:
            self.broker.hooks.clientCheckAcl.add(judge, priority=priority, perPacket=kind == "packet")
        self.judges.append((priority, judge))
        self.judges.sort(key=lambda each: -each[0])

    @precondition(lambda self: self.judges)
    @rule(index=st.integers(0, 5))
    def remove(self, index: int) -> None:
        """
        One callback fewer.
        """
        _, judge = self.judges.pop(index % len(self.judges))
        assert self.broker.hooks.clientCheckAcl.remove(judge)

    @precondition(lambda self: self.judges)
    @rule(
        index=st.integers(0, 5),
        name=st.sampled_from(CLIENTS),
        rules=RULES,
        silent=st.booleans(),
        forget=st.sampled_from(["all", "one"]),
        used=st.booleans(),
    )
    def change(self, index: int, name: str, rules: Any, silent: bool, forget: str, used: bool) -> None:
        """
        Other rules for one client, told beforehand or not, and what was said before is forgotten.

        @param used: whether the client publishes to everything before and after.
        """
        if used:
            self.publishEverywhere(name)
        judge = self.judges[index % len(self.judges)][1]
        judge.rules[name] = rules
        (judge.silentOf.add if silent else judge.silentOf.discard)(name)
        if forget == "all":
            self.broker.forgetPermissions()
        else:
            self.broker.forgetPermissions(self.broker.clients[name])
        if used:
            self.publishEverywhere(name)

    @precondition(lambda self: any(judge.kind != "told" for _, judge in self.judges))
    @rule(index=st.integers(0, 5), name=st.sampled_from(CLIENTS), rules=RULES)
    def changeSilently(self, index: int, name: str, rules: Any) -> None:
        """
        Other rules of a callback that does not tell them beforehand, without a word: they hold when what was remembered
        has had its time.
        """
        untold = [judge for _, judge in self.judges if judge.kind != "told"]
        untold[index % len(untold)].rules[name] = rules
        self.clock.advance(self.broker.settings.acl_cache_ttl + 1)

    @rule(name=st.sampled_from(CLIENTS), topic=st.sampled_from(TOPICS))
    def forgetTopic(self, name: str, topic: str) -> None:
        """
        Forgetting more than is needed changes no answer.
        """
        self.broker.forgetPermissions(self.broker.clients[name], topic)
        known = self.broker.rememberedPermissions(self.broker.clients[name])
        assert topic not in {each.topic for each in known}

    @rule(name=st.sampled_from(CLIENTS), superuser=st.booleans())
    def reauthenticate(self, name: str, superuser: bool) -> None:
        """
        A client becomes somebody above the rules, or is that no more.
        """
        data = b"super" if superuser else b""
        self.peers[name].send(Auth(0x19, propertiesOf(authMethod="m", authData=data)))
        assert isinstance(self.peers[name].next(), Auth)
        (self.superusers.add if superuser else self.superusers.discard)(name)

    @rule(
        name=st.sampled_from(CLIENTS),
        messages=st.lists(
            st.tuples(st.sampled_from(TOPICS), st.sampled_from([b"", b"0", b"1"]), st.booleans()),
            min_size=1,
            max_size=4,
        ),
    )
    def publish(self, name: str, messages: list[tuple[str, bytes, bool]]) -> None:
        """
        A message gets in just where asking every callback says so.
        """
        for topic, payload, retain in messages:
            self.check(name, topic, payload, retain)

    def publishEverywhere(self, name: str) -> None:
        """
        Verdicts that were remembered or told beforehand are used, wherever they can be.
        """
        for topic in TOPICS[:3]:
            self.check(name, topic, b"", False)

    def check(self, name: str, topic: str, payload: bytes, retain: bool) -> None:
        """
        Have a client publish something.
        """
        before = self.broker.traffic.total("messages_received")
        self.peers[name].publish(topic, payload, retain=retain)
        assert (self.broker.traffic.total("messages_received") > before) is self.asked(name, topic, payload)

    def asked(self, name: str, topic: str, payload: bytes) -> bool:
        """
        Get the result of asking every callback.
        """
        if name in self.superusers:
            return True
        allowed = self.nomatch
        for _, judge in self.judges:
            said = judge.decide(self.broker.clients[name], topic, payload)
            if said is not None:
                allowed = said
                if judge.final:
                    break
        return allowed

    @invariant()
    def isBounded(self) -> None:
        """
        No more is remembered than the settings allow, and nothing that asking would not say.
        """
        if not hasattr(self, "peers"):
            return
        for name in CLIENTS:
            client = self.broker.clients[name]
            known = self.broker.rememberedPermissions(client)
            assert len(known) <= self.broker.settings.acl_cache_max_size
            if name not in self.superusers:
                for each in known:
                    assert each.verdict.allowed is self.asked(name, each.topic, b"never asked")


TestPermitted = Permitted.TestCase
TestPermitted.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


# The possible answers of a callback about a client, and whether it tells them beforehand.
STATES: Final = tuple(
    (rules, silent)
    for rules in ([], [(True, None)], [(False, None)], [(True, "a")], [(False, "a")])
    for silent in (False, True)
)


@pytest.mark.parametrize("nomatch", ["allow", "deny"])
@pytest.mark.parametrize("forget", ["all", "one"])
def test_everyChange(nomatch: str, forget: str) -> None:
    """
    Whatever the core went by before a change (what was told beforehand, answers remembered, or that all is allowed):
    once that is forgotten, it goes by what holds then.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    broker.configure(settingsFrom({"acl_nomatch": nomatch}))
    judge = Judge("told", False, {"one": []})
    broker.hooks.clientCheckAcl.add(judge, publishRules=judge.publishRules)
    peer = Peer(factory, clock)
    peer.connect("one")
    for before, after in itertools.product(STATES, STATES):
        for rules, silent in (before, after):
            judge.rules["one"] = rules
            judge.silentOf = {"one"} if silent else set()
            broker.forgetPermissions(None if forget == "all" else broker.clients["one"])
            for topic in ("a", "b"):
                received = broker.traffic.total("messages_received")
                peer.publish(topic)
                said = judge.decide(broker.clients["one"], topic, b"")
                allowed = nomatch == "allow" if said is None else said
                assert (broker.traffic.total("messages_received") > received) is allowed, (before, after, topic)
