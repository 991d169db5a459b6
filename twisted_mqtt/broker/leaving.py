"""
The end of a session that has very many subscriptions: they leave the tree little by little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twisted_mqtt.core.router import Router
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.core.subscription import Subscription

# So many subscriptions leave in one go.
_AT_ONCE: Final = 32


class Leaving:
    """
    The subscriptions of a session that has ended. They still stand in the tree, but nothing more is delivered to it.
    """

    def __init__(self, router: Router, session: Session) -> None:
        self._router = router
        self._session = session
        self._left: list[Subscription] = list(session.subscriptions.values())

    def goOn(self) -> bool:
        """
        See L{Work<twisted_mqtt.core.events.Work>}.
        """
        session, left = self._session, self._left
        for _ in range(min(_AT_ONCE, len(left))):
            subscription = left.pop()
            share = subscription.share
            self._router.unsubscribe(
                session.topicTree, subscription.matching, session, None if share is None else share.name
            )
        return bool(left)
