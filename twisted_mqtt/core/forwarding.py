"""
The router's view of other nodes: an object that sends messages to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.subscription import SharedGroup


class Forwarder(Protocol):
    """
    Sends messages to the nodes that want them. It knows which those are; the router knows the subscribers here.
    """

    def forward(self, message: Message, groups: list[SharedGroup]) -> int:
        """
        Send a message of this node to other nodes. Never waits, never raises, never calls the router. What has to be
        stored there before it is acknowledged is held: C{hold} of
        L{Interconnect<twisted_mqtt.broker.interconnect.Interconnect>}.

        @param groups: the shared subscriptions with members here that get the message. The forwarder takes out those
            for which it has sent the message to a member elsewhere; each group gets it once.

        @return: to how many subscribers elsewhere it goes, as far as that is known: 0 only where nobody elsewhere has
            subscribed.
        """
