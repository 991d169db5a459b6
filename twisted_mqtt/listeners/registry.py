"""
The listeners of a broker: opens ports from the tables of the configuration, and changes them when the tables change.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from twisted_mqtt.broker.listenerprofile import limitsOf
from twisted_mqtt.config.values import Bind
from twisted_mqtt.listeners.listener import OpenListener
from twisted_mqtt.net.endpoints import canBeFast, pollerOf
from twisted_mqtt.net.tls.options import TLSProblem

if TYPE_CHECKING:
    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.config.reloadreport import ReloadReport
    from twisted_mqtt.config.schema_listeners import AnyListener
    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.core.limits import Limits
    from twisted_mqtt.listeners.listening import StreamListening
    from twisted_mqtt.process.systemd import InheritedSocket

_log = Logger()

_PROBLEMS = (TLSProblem, CannotListenError)


class Listeners(Service):
    """
    The listeners of a broker. They start when they are told to, which is once its store is open.

    @ivar opened: those that listen, by name, such as C{"tcp.external"}.
    @ivar parting: those that do not listen any more, but have connections.
    """

    name = "listeners"

    def __init__(self, broker: Broker, reactor: object, inherited: Iterable[InheritedSocket] = ()) -> None:
        """
        @param inherited: sockets that are open already, for the listeners of their name or else of their address.
        """
        self._broker = broker
        self._reactor = reactor
        self._inherited = list(inherited)
        self.opened: dict[str, OpenListener] = {}
        self.parting: list[OpenListener] = []
        # Zones are few, and all their clients share their limits.
        self._limits: dict[str, Limits] = {}

    @property
    def all(self) -> list[OpenListener]:
        """
        Every listener that may have connections.
        """
        self.parting = [listener for listener in self.parting if listener.connections]
        return [*self.opened.values(), *self.parting]

    def open(self) -> Deferred[None]:
        """
        Open every listener of the configuration.

        @return: fires when all listen; fails with the first that can't, after which none does.
        """

        Service.startService(self)

        async def each() -> None:
            if canBeFast(self._reactor):
                poller = pollerOf(self._reactor)
                # Output made in a turn of the poller is written in that turn.
                poller.turnEnded.append(self._broker.outbox.flush)
                self._broker.outbox.turning = poller
                self._broker.hurry = partial(setattr, poller, "hurried")
            try:
                for listener in self._broker.settings.listener:
                    await self._open(listener)
            except BaseException:
                await self.stopService()
                raise
            for unused in self._inherited:
                _log.warn("no listener is called {name}: that socket is closed", name=unused.name or "so")
                unused.socket.close()
            self._inherited.clear()

        return Deferred.fromCoroutine(each())

    def reload(self, settings: Settings, report: ReloadReport) -> Deferred[None]:
        """
        Go by other tables: close the listeners that are gone, whose connections stay, open new ones, change the others.

        @param settings: those that the broker goes by now.
        @param report: is told what was done.

        @return: fires when that is done. It does not fail: a listener that can't work by its table stays as it is.
        """
        self._limits.clear()
        self.parting = [listener for listener in self.parting if listener.connections]
        wanted = {f"{listener.listenerKind}.{listener.name}": listener for listener in settings.listener}

        async def each() -> None:
            for name in [name for name in self.opened if name not in wanted]:
                await self._part(name)
                report.done.append(f"listener.{name}: closed; its connections stay")
            for name, listener in wanted.items():
                try:
                    await self._renew(name, listener, report)
                except _PROBLEMS as problem:
                    report.problems.append(str(problem))

        return Deferred.fromCoroutine(each())

    def reloadCertificates(self) -> dict[str, bool]:
        """
        Read the certificates of all listeners again, without waiting until it is seen that they have changed.

        @return: whether they could be used, by the name of the listener; what is wrong with those that can't is logged.
        """
        outcomes = {name: listener.reloadCertificates() for name, listener in self.opened.items()}
        return {name: outcome for name, outcome in outcomes.items() if outcome is not None}

    def stopService(self) -> Deferred[None]:
        """
        Close all ports; open connections stay.

        @return: fires when nothing listens any more.
        """
        Service.stopService(self)

        async def each() -> None:
            while self.opened:
                await self._part(next(iter(self.opened)))

        if canBeFast(self._reactor):
            flush = self._broker.outbox.flush
            callbacks = pollerOf(self._reactor).turnEnded
            if flush in callbacks:
                callbacks.remove(flush)
            self._broker.outbox.turning = None
            self._broker.hurry(False)
            self._broker.hurry = lambda whether: None
        return Deferred.fromCoroutine(each())

    async def _open(self, listener: AnyListener) -> None:
        inherited = self._inheritedFor(listener)
        private = listener.bind.isLoopback
        if inherited is not None:
            bind = _bindOf(inherited.socket)
            # The real address of a client decides whether it needs credentials.
            private = private and bind.isLoopback
            if bind != listener.bind:
                _log.warn("{path}: the socket handed over is at {bind}", path=listener.path, bind=bind)
        opening = OpenListener(self._broker, self._reactor, listener, self._limitsFor(listener), private, self._forget)
        await opening.start(None if inherited is None else inherited.socket)
        self.opened[opening.name] = opening

    async def _renew(self, name: str, listener: AnyListener, report: ReloadReport) -> None:
        """
        Have one listener go by its table.
        """
        known = self.opened.get(name)
        if known is None:
            await self._open(listener)
            report.done.append(f"listener.{name}: opened")
        elif known.listener.bind != listener.bind:
            # The new port first: where it can't be opened, the old one goes on.
            await self._open(listener)
            self.parting.append(known)
            await known.stop()
            report.done.append(f"listener.{name}: now on {listener.bind}; its connections stay")
        elif known.listener != listener or known.clients.profile.zone != self._broker.settings.zoneOf(listener):
            known.change(listener, self._limitsFor(listener))
            report.done.append(f"listener.{name}: changed for connections that come from now on")
        else:
            usable = known.reloadCertificates()
            if usable:
                report.done.append(f"listener.{name}: certificates read again")
            elif usable is not None:
                report.problems.append(f"listener.{name}: the certificates can't be used; the old ones stay")
        report.restart.extend(f"listener.{name}.{key}" for key in self.opened[name].waiting)

    async def _part(self, name: str) -> None:
        await self.opened[name].close()

    def _forget(self, listener: StreamListening) -> None:
        """
        A listener is closed for good; its clients are still to be told when the broker stops.
        """
        if self.opened.get(listener.name) is listener:
            self.parting.append(self.opened.pop(listener.name))

    def _limitsFor(self, listener: AnyListener) -> Limits:
        zone = self._broker.settings.zoneOf(listener)
        return self._limits.setdefault(zone.name, limitsOf(zone))

    def _inheritedFor(self, listener: AnyListener) -> InheritedSocket | None:
        """
        Find the socket that was handed over for a listener, by its name or else by its address.
        """
        name = f"{listener.listenerKind}.{listener.name}"
        for inherited in self._inherited:
            if inherited.name in (name, listener.path) or _bindOf(inherited.socket) == listener.bind:
                self._inherited.remove(inherited)
                return inherited
        return None


def _bindOf(listening: socket.socket) -> Bind:
    """
    Where a socket listens.
    """
    address = listening.getsockname()
    if isinstance(address, tuple):
        return Bind(address[0], address[1])
    return Bind(path=address if isinstance(address, str) else address.decode("utf-8", "replace"))
