"""
ACK and NACK: their effect on the messages of the client's session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateways.stomp.deliveries import Deliveries, Settlement, StompDelivery

if TYPE_CHECKING:
    from gateways.stomp.receiving import Receiving
    from gateways.stomp.session import StompSession


class Acknowledging:
    """
    Settles a client's messages.

    A message that is refused goes to another subscriber of the same queue, if it came through one; else the client gets
    it again, C{max_redeliveries} times, and then it is dropped.

    @ivar deliveries: what is to be acknowledged.
    """

    __slots__ = ("deliveries", "receiving", "most", "_session", "_sent")

    def __init__(self, session: StompSession, most: int) -> None:
        """
        @param most: how often a message that is refused is sent again.
        """
        self._session = session
        self.deliveries = Deliveries()
        self.receiving: Receiving | None = None
        self.most = most
        # Messages that count as acknowledged as soon as they are sent.
        self._sent: list[int] = []

    def acknowledge(self, text: str, subscriptionName: str | None) -> None:
        """
        ACK.

        @raise StompError: there was no such message.
        """
        for delivery in self.deliveries.take(text, subscriptionName):
            delivery.settlement.taken = True
            self._settle(delivery.settlement)

    def refuse(self, text: str, subscriptionName: str | None) -> None:
        """
        NACK.

        @raise StompError: there was no such message.
        """
        for delivery in self.deliveries.take(text, subscriptionName):
            if not self._sendElsewhere(delivery):
                self._settle(delivery.settlement)

    def sent(self, packetID: int) -> None:
        """
        A message needs no ACK. The session hears of it when it has done with sending, not in the middle of it.
        """
        if not self._sent:
            self._session.later(self._acknowledgeSent)
        self._sent.append(packetID)

    def _acknowledgeSent(self) -> None:
        sent, self._sent = self._sent, []
        client = self._session.client
        for packetID in sent:
            client.acknowledged(packetID)

    def _sendElsewhere(self, delivery: StompDelivery) -> bool:
        """
        Send a message again that was refused; returns whether that was possible.
        """
        settlement, client = delivery.settlement, self._session.client
        refusals = delivery.refusals + 1
        if refusals > self.most:
            return False
        if settlement.waiting == 1 and settlement.packetID and client.passOn(settlement.packetID, refusals):
            return True
        if delivery.subscription.ended or self.receiving is None:
            return False
        self.receiving.sendAgain(delivery, refusals)
        return True

    def _settle(self, settlement: Settlement) -> None:
        settlement.waiting -= 1
        if settlement.waiting or not settlement.packetID:
            return
        client = self._session.client
        if settlement.taken:
            client.acknowledged(settlement.packetID)
        else:
            client.refused(settlement.packetID)
