"""
What those who talk to clients tell of one that is traced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_mqtt.core.packets import Packet
    from twisted_mqtt.interfaces.clients import IClient


class ITap(Interface):
    """
    Is told what one traced client sends and is sent. Never waits and never raises.
    """

    def begin(version: int, partial: bytes) -> None:
        """
        Bytes of MQTT will come.

        @param version: that the client speaks; 0 before its CONNECT.
        @param partial: the beginning of a packet that has come and is not whole yet.
        """

    def received(data: bytes) -> None:
        """
        Bytes of MQTT have come from the client, and are handled after this.
        """

    def sent(data: bytes) -> None:
        """
        Whole packets of MQTT are being sent to the client.
        """

    def gotPacket(packet: Packet) -> None:
        """
        A packet has come from the client that is decoded already: a CONNECT by which it was found out that the client
        is traced; and what the client of a gateway asks for, as the packet of MQTT that would ask for it.
        """

    def sentPacket(packet: Packet) -> None:
        """
        A client of a gateway is told something, as the packet of MQTT that would say it.
        """

    def ended(reason: int | str) -> None:
        """
        The client is gone.

        @param reason: an MQTT 5 reason code or a word.
        """


class ITracer(Interface):
    """
    Knows who is traced. C{broker.tracer} is one while somebody is, else None.
    """

    def came(client: IClient) -> ITap | None:
        """
        There is a connection that has said nothing yet.

        @return: what is told of it; None if it is not traced.
        """

    def connecting(client: IClient, packets: Sequence[Packet]) -> ITap | None:
        """
        A CONNECT has come.

        @param packets: that, and what has come behind it already: the tap has been told of these.

        @return: as L{came}.
        """

    def opened(client: IClient) -> ITap | None:
        """
        A client is in, whose name may be another than that of its CONNECT.

        @return: as L{came}.
        """
