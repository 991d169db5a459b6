"""
The state that all clients of the gateway share: the broker, the settings, the list of clients; and the interface that
they need of their endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateways.clientlimit import ClientLimit
from gateways.coap.blockwise import diagnostic
from gateways.coap.codes import BAD_REQUEST
from gateways.coap.expiry import Expiry
from gateways.coap.parameters import Parameters
from gateways.coap.pubsub import keyOf
from gateways.coap.query import QueryError, pathOf, queryOf
from gateways.coap.request import CoAPRequest
from gateways.coap.resources import serve
from gateways.coap.roles import Address, Ended, Incoming
from gateways.coap.session import CoAPClient

if TYPE_CHECKING:
    from gateways.coap.message import CoAPMessage
    from gateways.coap.pubsub import PubSubTopics
    from gateways.coap.settings import CoAPSettings
    from twisted_mqtt.broker.listenerprofile import ListenerProfile
    from twisted_mqtt.interfaces import IBroker
    from twisted_mqtt.net.peeridentity import PeerIdentity


class Endpoint(Protocol):
    """
    Where a client came in.

    @ivar profile: of its listener.
    @ivar port: that it listens on.
    """

    profile: ListenerProfile
    port: int

    def send(self, address: Address, message: CoAPMessage, confirmable: bool, ended: Ended | None, now: float) -> None:
        """
        See L{Exchanges.send<gateways.coap.exchange.Exchanges.send>}; the timer is seen to.
        """

    def cut(self, request: CoAPMessage, address: Address, response: CoAPMessage, now: float) -> CoAPMessage:
        """
        Return the notification to send: the notification itself, or its first block.
        """

    def room(self, incoming: Incoming) -> int:
        """
        How many bytes of payload the response to a request may have.
        """

    def isVerified(self, address: Address) -> bool:
        """
        Whether a peer has lately shown that it receives what is sent there.
        """

    def respond(self, incoming: Incoming, response: CoAPMessage, now: float) -> None:
        """
        Answer a request, in one message.
        """

    def answer(self, incoming: Incoming, request: CoAPMessage, response: CoAPMessage) -> None:
        """
        Answer a request, block by block where it has to be.
        """

    def identityOf(self, address: Address) -> PeerIdentity | None:
        """
        Get the identity that DTLS has proved for a peer, or L{None}.
        """


class CoAPGateway:
    """
    The gateway.

    @ivar clients: those that are in or being let in, by address and client identifier.
    @ivar topics: what C{/ps} knows of its topics.
    @ivar expiry: removes topics when their time comes.
    @ivar walks: how many requests go through many topics at present; there may be L{MOST_WALKS}.
    """

    def __init__(self, broker: IBroker, settings: CoAPSettings, topics: PubSubTopics) -> None:
        self.broker = broker
        self.settings = settings
        self.topics = topics
        self.parameters = Parameters()
        self.clients: dict[tuple[Address, str], CoAPClient] = {}
        self._byAddress: dict[Address, set[CoAPClient]] = {}
        self._limit = ClientLimit(broker, "coap", settings.max_clients)
        self.walks = 0
        self.expiry = Expiry(self)
        self.expiry.arm()
        # The observers of each topic, by keyOf, in the order in which they came.
        self._observers: dict[str, dict[CoAPClient, None]] = {}

    def serve(self, endpoint: Endpoint, asked: CoAPMessage, message: CoAPMessage, incoming: Incoming) -> None:
        """
        See L{ResourceServer<gateways.coap.protocol.ResourceServer>}.
        """
        try:
            query = queryOf(asked)
        except QueryError as error:
            endpoint.answer(incoming, asked, diagnostic(BAD_REQUEST, str(error)))
            return
        serve(CoAPRequest(self, endpoint, asked, message, query, incoming), pathOf(asked))

    def clientFor(
        self,
        endpoint: Endpoint,
        address: Address,
        clientID: str,
        username: str | None,
        password: bytes | None,
        now: float,
    ) -> CoAPClient | None:
        """
        The client that a request is from; a new one, unless there are too many.
        """
        client = self.clients.get((address, clientID))
        if client is not None:
            if client.isSame(username, password):
                client.touch(now)
                return client
            # Somebody else now, although under the same name.
            client.end("credentials changed")
        if self._limit.refuses(len(self.clients), address):
            return None
        client = CoAPClient(self, endpoint, address, clientID, username, password, now)
        self.clients[client.key] = client
        self._byAddress.setdefault(address, set()).add(client)
        client.connect()
        return client

    def remove(self, client: CoAPClient) -> None:
        """
        A client is over.
        """
        if self.clients.get(client.key) is client:
            del self.clients[client.key]
        others = self._byAddress.get(client.address)
        if others is not None:
            others.discard(client)
            if not others:
                del self._byAddress[client.address]

    def observing(self, client: CoAPClient, topicFilter: str) -> None:
        """
        A client observes a topic or a filter from now on.
        """
        self._observers.setdefault(keyOf(client.client.info, topicFilter), {})[client] = None

    def observedNoMore(self, client: CoAPClient, topicFilter: str) -> None:
        """
        A client has no observation of a topic or a filter any more.
        """
        key = keyOf(client.client.info, topicFilter)
        others = self._observers.get(key)
        if others is not None and others.pop(client, client) is None and not others:
            del self._observers[key]

    def observersOf(self, key: str) -> list[CoAPClient]:
        """
        The clients that observe a topic itself, and not by a wildcard, from the first to the last.
        """
        return list(self._observers.get(key, ()))

    def touch(self, address: Address, now: float) -> None:
        """
        Something has come from an address that is no request.
        """
        for client in self._byAddress.get(address, ()):
            client.touch(now)

    def lost(self, address: Address, reason: int | str) -> None:
        """
        Nothing comes from an address any more.
        """
        for client in list(self._byAddress.get(address, ())):
            client.end(reason, tell=False)

    def endAll(self, reason: int | str) -> None:
        """
        Send everybody away.
        """
        self.expiry.stop()
        for client in list(self.clients.values()):
            client.end(reason)
