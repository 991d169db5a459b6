"""
Re-authentication: a client proves its identity again on the same connection (4.12.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from twisted_mqtt.base.waiting import Maybe
from twisted_mqtt.broker.authentication import exchangeStep
from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import BAD_AUTHENTICATION_METHOD, SUCCESS
from twisted_mqtt.hooks.packets import PacketContext
from twisted_mqtt.hooks.verdicts import AuthResult, Challenge

if TYPE_CHECKING:
    from twisted_mqtt.broker.permissions import Permissions
    from twisted_mqtt.core.counters import Counters
    from twisted_mqtt.hooks.points import Hooks


class Reauthentication:
    """
    One re-authentication.

    @ivar challenge: what the client is to be asked next, or L{None} when it is decided.
    @ivar reason: how it ended; from 0x80 on the client has to go.
    @ivar properties: of the AUTH that ends it.
    """

    def __init__(self, hooks: Hooks, counters: Counters, permissions: Permissions, client: ClientInfo) -> None:
        self.challenge: Challenge | None = None
        self.reason = SUCCESS
        self.properties = Properties()
        self._hooks = hooks
        self._counters = counters
        self._permissions = permissions
        self._client = client
        self._packet = PacketContext(client, "auth")

    def step(self, data: bytes | None) -> Maybe[Reauthentication]:
        """
        Take what the client has sent.

        @return: itself, or a Deferred of it.
        """
        client = self._client
        client.authData = data
        state = None if self.challenge is None else self.challenge.state
        self.challenge = None
        self._counters.client_authenticate += 1
        verdict = exchangeStep(self._hooks, client, self._packet, state)
        return verdict.addCallback(self._decided) if isinstance(verdict, Deferred) else self._decided(verdict)

    def _decided(self, verdict: AuthResult | Challenge) -> Reauthentication:
        client = self._client
        if isinstance(verdict, Challenge):
            self.challenge = verdict
            return self
        client.authData = None
        self.reason = verdict.reasonCode
        if self.reason == BAD_AUTHENTICATION_METHOD:
            return self
        self.properties.authMethod = client.authMethod
        self.properties.authData = verdict.data
        self.properties.reasonString = verdict.reasonString
        if verdict.success:
            # It may be somebody else's turn to be superuser now: rules are asked afresh.
            client.isSuperuser = verdict.isSuperuser
            self._permissions.forget(client)
        return self
