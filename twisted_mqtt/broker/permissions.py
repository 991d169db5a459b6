"""
What clients may do: access rules asked, and what they have said remembered.

It is compiled, for every connection and every topic goes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted_mqtt.base.waiting import then
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.events import Switches
from twisted_mqtt.hooks.verdicts import ALLOW, DENY

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.broker.client import ClientInfo


class Permissions:
    """
    The permissions of a broker's clients.

    @ivar settings: the L{Settings<twisted_mqtt.config.settings.Settings>}; may be exchanged.
    """

    def __init__(
        self,
        settings: Any,
        hooks: Any,
        counters: Counters,
        switches: Switches,
        clients: dict[str, ClientInfo],
        now: Callable[[], float],
    ) -> None:
        """
        @param hooks: the L{Hooks<twisted_mqtt.hooks.points.Hooks>}.
        @param clients: those that are connected, by client identifier.
        @param now: the time, in seconds since the epoch.
        """
        self.settings = settings
        self._point = hooks.clientCheckAcl
        self._counters = counters
        self._switches = switches
        self._clients = clients
        self._now = now
        self._nomatch: str = ALLOW
        # A callback that refuses some clients no topic to publish, and what says which.
        self._judge: Any = None
        self._publishesFreely: Callable[[Any, bool], bool] | None = None
        self.configure(settings)

    def configure(self, settings: Any) -> None:
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
        self._switches.acl = bool(self._point.callbacks) or self._nomatch == DENY
        self.forget()

    def forget(self) -> None:
        """
        See C{forgetPermissions} of L{twisted_mqtt.interfaces.IBroker}.
        """
        self._switches.aclGeneration += 1
        for client in self._clients.values():
            if client.connection is not None:
                client.connection.exempt = self.isExempt(client)

    def judgeFreely(self, judge: Any, publishesFreely: Callable[[Any, bool], bool] | None) -> None:
        """
        See L{twisted_mqtt.interfaces.IBroker}.
        """
        self._judge = judge
        self._publishesFreely = publishesFreely
        self.forget()

    def isExempt(self, client: ClientInfo) -> bool:
        """
        Whether a client may publish whatever it likes, so that nobody is to be asked about each topic.
        """
        if client.isSuperuser or not client.options.enable_acl:
            return True
        freely = self._publishesFreely
        if freely is None:
            return False
        callbacks = self._point.callbacks
        if len(callbacks) != 1 or callbacks[0] != self._judge:
            return False
        return freely(client, self._nomatch == ALLOW)

    def authorize(self, client: ClientInfo, action: str, topic: str) -> Any:
        """
        See L{twisted_mqtt.interfaces.IBroker}.
        """
        switches = self._switches
        if client.isSuperuser or not switches.acl or not client.options.enable_acl:
            return True
        cache = client.aclCache
        if cache is not None and client.aclGeneration == switches.aclGeneration:
            known = cache.get((action, topic))
            if known is not None and known[1] > self._now():
                return known[0]
        self._counters.client_check_acl += 1
        point = self._point
        verdict = point.fold(client, action, topic, self._nomatch) if point.callbacks else self._nomatch
        return then(verdict, self._authorized, client, action, topic, switches.aclGeneration)

    def _authorized(self, verdict: str, client: ClientInfo, action: str, topic: str, generation: int) -> bool:
        allowed = verdict == ALLOW
        settings = self.settings
        switches = self._switches
        most: int = settings.acl_cache_max_size
        # What was said before the rules changed holds for this once.
        if generation == switches.aclGeneration and settings.enable_acl_cache and most:
            cache = client.aclCache
            if cache is None or client.aclGeneration != switches.aclGeneration:
                cache = client.aclCache = {}
                client.aclGeneration = switches.aclGeneration
            connection = client.connection
            if len(cache) >= most and (action, topic) not in cache:
                oldest = next(iter(cache))
                del cache[oldest]
                if connection is not None:
                    connection.disallow(oldest[1])
            until: float = self._now() + settings.acl_cache_ttl
            cache[action, topic] = (allowed, until)
            if allowed and action == "publish" and connection is not None:
                # With this the core lets the next messages of this topic through by itself.
                connection.allow(topic, until)
        return allowed
