"""
A network in memory for CoAP: two ends, a clock, and what is lost, doubled or late between them.
"""

from collections.abc import Callable
from random import Random

from gateways.coap.exchange import Exchanges
from gateways.coap.message import CoAPMessage
from gateways.coap.parameters import Parameters
from gateways.coap.roles import Address, Incoming

A: Address = ("a", 1)
B: Address = ("b", 2)


class Side:
    """
    One end: answers requests as C{serve} says, and keeps what happened.
    """

    def __init__(
        self, network: "Network", own: Address, serve: Callable[[CoAPMessage], CoAPMessage | None], vouched: bool
    ) -> None:
        self.network = network
        self.serve = serve
        self.requests: list[CoAPMessage] = []
        self.refusals: list[int] = []
        self.pending: list[Incoming] = []
        self.exchanges = Exchanges(
            lambda datagram, address: network.carry(own, address, datagram), self, Parameters(), Random(1), vouched
        )

    def requested(self, request: CoAPMessage, incoming: Incoming, now: float) -> None:
        """
        Answer at once, or keep it for later.
        """
        self.requests.append(request)
        response = self.serve(request)
        if response is None:
            self.pending.append(incoming)
        else:
            self.exchanges.respond(incoming, response, now)

    def refused(self, request: CoAPMessage, option: int, incoming: Incoming, now: float) -> None:
        """
        Keep it.
        """
        self.refusals.append(option)


class Answers:
    """
    A client: it keeps the responses, or the failure.
    """

    def __init__(self, more: bool = False) -> None:
        self.responses: list[CoAPMessage] = []
        self.failures: list[int] = []
        self.acknowledgements = 0
        self._more = more

    def acknowledged(self, now: float) -> None:
        """
        Count it.
        """
        self.acknowledgements += 1

    def answered(self, response: CoAPMessage, now: float) -> bool:
        """
        Keep it.
        """
        self.responses.append(response)
        return self._more

    def failed(self, how: int, now: float) -> None:
        """
        Keep it.
        """
        self.failures.append(how)


class Network:
    """
    Carries datagrams between two sides; time goes on only as far as something is due.

    @ivar fate: says when copies of a datagram arrive, in seconds from now: an empty list loses it.
    @ivar log: all that was sent.
    """

    def __init__(self, serve: Callable[[CoAPMessage], CoAPMessage | None], vouched: bool = True) -> None:
        """
        @param vouched: whether neither side has to show that it is where it says.
        """
        self.now = 1000.0
        self.fate: Callable[[bytes], list[float]] = lambda datagram: [0.01]
        self.log: list[tuple[Address, bytes]] = []
        self._flying: list[tuple[float, int, Address, Address, bytes]] = []
        self.sides = {A: Side(self, A, serve, vouched), B: Side(self, B, serve, vouched)}

    def carry(self, source: Address, target: Address, datagram: bytes) -> None:
        """
        Take a datagram.
        """
        self.log.append((source, datagram))
        for delay in self.fate(datagram):
            self._flying.append((self.now + delay, len(self.log), source, target, datagram))

    def run(self, until: float = 400.0) -> None:
        """
        Let happen what is due within C{until} seconds.
        """
        end = self.now + until
        for _ in range(10_000):
            times = [flight[0] for flight in self._flying]
            times += [due for side in self.sides.values() if (due := side.exchanges.nextDeadline()) is not None]
            if not times or min(times) > end:
                self.now = end
                return
            self.now = max(self.now, min(times))
            self._flying.sort()
            arrived = [flight for flight in self._flying if flight[0] <= self.now]
            self._flying = [flight for flight in self._flying if flight[0] > self.now]
            for _, _, source, target, datagram in arrived:
                self.sides[target].exchanges.receive(datagram, source, self.now)
            for side in self.sides.values():
                side.exchanges.expire(self.now)
        raise AssertionError("it does not come to rest")
