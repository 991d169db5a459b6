"""
Hook points: where extensions watch, change or refuse what the broker does.

C{docs/hooks.md} lists the points and the arguments of their callbacks.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Never, TypeVar

from twisted_mqtt.base.slowcalls import SlowCalls
from twisted_mqtt.base.waiting import Maybe
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.hooks.chain import Callback
from twisted_mqtt.hooks.kinds import AccessPoint, FoldPoint, HookPoint, Observer, RunPoint
from twisted_mqtt.hooks.registration import Registration
from twisted_mqtt.hooks.verdicts import Answer, AuthResult, Challenge, Drop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.core.packets import SubscriptionRequest
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.core.subscription import Subscription
    from twisted_mqtt.core.topicrules import TopicRules
    from twisted_mqtt.hooks.tracing import HookTracing
    from twisted_mqtt.interfaces import IClient

_P = TypeVar("_P", bound=HookPoint)


class Hooks:
    """
    All hook points of one broker, each an attribute and an item by its dotted name.

    @ivar clock: what measures how long callbacks wait; without one they may wait for ever.
    @ivar timeout: for how many seconds a callback may wait that is called for no client; 0 is no limit. For a client
        it is C{hook_timeout} of its zone.
    @ivar slow: who is told of callbacks that hold the reactor for too long.
    @ivar called: given a point and an extension, it returns what takes the seconds that a callback held the reactor.
    @ivar waited: the same for the seconds until a callback answered that had to wait.
    @ivar nameOwner: names the extension on whose behalf a callback was added.
    @ivar tracing: times the callbacks that are called for somebody who is traced; L{None} while nobody is.
    @ivar changed: called with a point whose callbacks have changed, so that the broker can pass by those without any.
    """

    def __init__(self, clock: IReactorTime | None = None, timeout: float = 10.0, slow: SlowCalls | None = None) -> None:
        self.clock = clock
        self.timeout = timeout
        self.slow = SlowCalls() if slow is None else slow
        self.tracing: HookTracing | None = None
        self.changed: Callable[[HookPoint], None] | None = None
        self.called: Callable[[str, str], Observer] | None = None
        self.waited: Callable[[str, str], Observer] | None = None
        self.nameOwner: Callable[[object], str] = lambda owner: type(owner).__name__
        self._points: dict[str, HookPoint] = {}

        self.clientConnect: FoldPoint[Properties, Never, IClient] = self._point(
            FoldPoint("client.connect", self, _isProperties)
        )
        self.clientConnack: FoldPoint[Properties, Never, IClient, int] = self._point(
            FoldPoint("client.connack", self, _isProperties)
        )
        self.clientConnected: RunPoint[IClient, IClient] = self._point(RunPoint("client.connected", self))
        self.clientDisconnected: RunPoint[IClient, int | str, IClient] = self._point(
            RunPoint("client.disconnected", self)
        )
        # Where these fail it is not "not authorized": a device told so may never come back, and the fault is on our
        # side.
        self.clientAuthenticate: FoldPoint[AuthResult, Never, IClient] = self._point(
            FoldPoint("client.authenticate", self, _isResult, lambda: AuthResult("server_unavailable"))
        )
        self.clientEnhancedAuthenticate: FoldPoint[AuthResult, Challenge, IClient, str, bytes | None, object] = (
            self._point(
                FoldPoint(
                    "client.enhanced_authenticate", self, _isResultOrChallenge, lambda: AuthResult("server_unavailable")
                )
            )
        )
        self.clientCheckAcl = self._point(AccessPoint("client.check_acl", self))
        self.clientSubscribe: FoldPoint[list[SubscriptionRequest], Never, IClient, Properties] = self._point(
            FoldPoint("client.subscribe", self)
        )
        self.clientUnsubscribe: FoldPoint[list[str], Never, IClient, Properties] = self._point(
            FoldPoint("client.unsubscribe", self)
        )
        self.sessionCreated: RunPoint[IClient, Session] = self._point(RunPoint("session.created", self))
        self.sessionSubscribed: RunPoint[IClient, str, Subscription] = self._point(RunPoint("session.subscribed", self))
        self.sessionUnsubscribed: RunPoint[IClient, str, Subscription] = self._point(
            RunPoint("session.unsubscribed", self)
        )
        self.sessionResumed: RunPoint[IClient, Session] = self._point(RunPoint("session.resumed", self))
        self.sessionDiscarded: RunPoint[IClient, Session] = self._point(RunPoint("session.discarded", self))
        self.sessionTakeovered: RunPoint[IClient, Session] = self._point(RunPoint("session.takeovered", self))
        self.sessionTerminated: RunPoint[IClient, int | str, Session] = self._point(
            RunPoint("session.terminated", self)
        )
        self.messagePublish: FoldPoint[Message, Drop] = self._point(
            FoldPoint("message.publish", self, _isMessageOrDrop)
        )
        self.messageQueued: RunPoint[Session, Message] = self._point(RunPoint("message.queued", self))
        self.messageDelivered: FoldPoint[Message, Drop, IClient] = self._point(
            FoldPoint("message.delivered", self, _isMessageOrDrop)
        )
        self.messageAcked: RunPoint[IClient, Message] = self._point(RunPoint("message.acked", self))
        self.messageDropped: RunPoint[Message, IClient | None, str] = self._point(RunPoint("message.dropped", self))

        self._attributes = {attribute: point for attribute, point in vars(self).items() if isinstance(point, HookPoint)}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """
            Tell of a point that does not exist.

            @raise AttributeError: always; the text names the nearest point.
            """
            near = get_close_matches(name, self.__dict__.get("_attributes", ()), 1, 0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AttributeError(f"no hook point {name!r}{hint}", name=name, obj=self)

    def _point(self, point: _P) -> _P:
        self._points[point.name] = point
        return point

    def __getitem__(self, name: str) -> HookPoint:
        """
        Find a point by its dotted name.

        @raise KeyError: there is none; the text names the nearest.
        """
        point = self._points.get(_ALIASES.get(name, name))
        if point is None:
            near = get_close_matches(name, self._points, 1, 0.4)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(self._points)}"
            raise KeyError(f"no hook point {name!r}{hint}")
        return point

    def __iter__(self) -> Iterator[HookPoint]:
        return iter(self._points.values())

    def __len__(self) -> int:
        return len(self._points)

    def __contains__(self, name: object) -> bool:
        return name in self._points or name in _ALIASES

    def hook(
        self,
        point: str,
        action: Callback,
        *,
        priority: int = 0,
        filter: Callable[..., object] | None = None,
        args: Sequence[object] = (),
        publishRules: Callable[[IClient], TopicRules | None] | None = None,
        perPacket: bool = False,
    ) -> None:
        """
        Add a callback to the point of that name: L{HookPoint.add}.

        @param publishRules: at C{client.check_acl} only: L{AccessPoint.add}.
        @param perPacket: likewise.

        @raise TypeError: the last two are given for another point.
        """
        found = self[point]
        if publishRules is None and not perPacket:
            found.add(action, priority=priority, filter=filter, args=args)
        elif isinstance(found, AccessPoint):
            found.add(
                action,  # type: ignore[arg-type]  # what a point expects can't be told from its name
                priority=priority,
                filter=filter,
                args=args,
                publishRules=publishRules,
                perPacket=perPacket,
            )
        else:
            raise TypeError(f"publishRules and perPacket are for client.check_acl, not for {point}")

    def unhook(self, point: str, action: Callback) -> bool:
        """
        Take a callback away from the point of that name: L{HookPoint.remove}.
        """
        return self[point].remove(action)

    def runHook(self, point: str, args: Sequence[object]) -> Maybe[Answer[None]]:
        """
        Run a point by name.

        @return: L{OK}, or L{STOP} if a callback ended the chain; a L{Deferred} of one of these.
        @raise TypeError: the point passes a value along.
        """
        found = self[point]
        if not isinstance(found, RunPoint):
            raise TypeError(f"{point} passes a value along: use runFoldHook")
        return found.tell(*args)

    def runFoldHook(self, point: str, args: Sequence[object], acc: object) -> Maybe[object]:
        """
        Pass a value through a point by name.

        @param acc: the value.

        @return: the value in the end, or a L{Deferred} of it.
        @raise TypeError: the point only tells.
        """
        found = self[point]
        if not isinstance(found, FoldPoint):
            raise TypeError(f"{point} passes no value along: use runHook")
        return found.fold(*args, acc)

    def ownedBy(self, owner: object) -> list[tuple[HookPoint, Registration]]:
        """
        Find what was added on somebody's behalf: while they started, or later with a method of theirs.
        """
        return [
            (point, registration)
            for point in self
            for registration in point
            if registration.owner is owner or getattr(registration.action, "__self__", None) is owner
        ]


#: A name that stands in older webhook rules for the same moment.
_ALIASES: Final = {"message.deliver": "message.delivered"}


def _isProperties(answer: object, value: object) -> bool:
    return isinstance(answer, Properties)


def _isMessageOrDrop(answer: object, value: object) -> bool:
    if isinstance(answer, Drop):
        return True
    return isinstance(answer, type(value)) and (not isinstance(answer, Message) or answer.fits())


def _isResult(answer: object, value: object) -> bool:
    return isinstance(answer, AuthResult)


def _isResultOrChallenge(answer: object, value: object) -> bool:
    return isinstance(answer, AuthResult | Challenge)
