"""
Types, message IDs and tokens: acknowledgements, retransmission, duplicates, and which response belongs to which request
(RFC 7252 4 and 5.2 to 5.3). This module does not look at the content of messages.

An address may be forged: until C{verification} knows better, little goes there, and a message that the client did not
ask for waits for the answer to a ping.

Time is an argument, and one timer is enough: L{Exchanges.nextDeadline} says when L{Exchanges.expire} is to be called.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable
from random import Random
from typing import Final

from gateways.coap.codes import EMPTY, isRequest, isResponse
from gateways.coap.generations import Generations
from gateways.coap.message import ACK, CON, NON, RST, CoAPMessage, MessageError, decode, encode, encodeEmpty
from gateways.coap.options import ECHO, understand
from gateways.coap.parameters import Parameters
from gateways.coap.peerqueue import OutgoingMessage, PeerQueue
from gateways.coap.roles import (
    ACKNOWLEDGED,
    DROPPED,
    RESET,
    TIMED_OUT,
    Address,
    Awaiting,
    Ended,
    Incoming,
    Received,
    Upper,
)
from gateways.coap.verification import PING_LENGTH, AddressVerification

_NOBODY: Final[dict[bytes, Awaiting]] = {}


class Exchanges:
    """
    All exchanges of one socket, with any number of peers; in both roles.

    @ivar verification: which addresses are known not to be forged.
    """

    def __init__(
        self,
        transmit: Callable[[bytes, Address], None],
        upper: Upper,
        parameters: Parameters,
        random: Random,
        vouched: bool = False,
    ) -> None:
        """
        @param transmit: sends a datagram.
        @param random: where message IDs and tokens begin, and how timeouts are spread.
        @param vouched: whether the layer below knows that no address is forged.
        """
        self._transmit = transmit
        self._upper = upper
        self.parameters = parameters
        self._random = random
        remembered, lifetime = parameters.remembered, parameters.exchangeLifetime
        self._seen: Generations[Hashable, Received] = Generations(lifetime, remembered, parameters.rememberedBytes)
        self._messageIDs: Generations[Address, int] = Generations(lifetime, remembered)
        self.verification = AddressVerification(parameters, random, vouched)
        # The callbacks to tell of a reset of a message that is not confirmable.
        self._told: Generations[tuple[Address, int], Ended] = Generations(lifetime, remembered)
        self._lanes: dict[Address, PeerQueue] = {}
        self._awaiting: dict[Address, dict[bytes, Awaiting]] = {}
        self._deadlines: list[tuple[float, int, OutgoingMessage | Incoming]] = []
        self._count = 0
        self._tokens = random.getrandbits(32)

    # Incoming

    def receive(self, datagram: bytes, address: Address, now: float) -> None:
        """
        Take a datagram.
        """
        try:
            message = decode(datagram)
        except MessageError as error:
            # RFC 7252 4.2; with 4.3, what is not confirmable is ignored.
            if error.confirmable and error.messageID is not None:
                self._transmit(encodeEmpty(RST, error.messageID), address)
            return
        # Or what came before a long silence would be taken for lately.
        self._seen.turn(now)
        code, type = message.code, message.type
        if isRequest(code):
            if type <= NON:
                self._receiveRequest(message, datagram, address, now)
        elif code == EMPTY:
            if type == CON:  # a ping (RFC 7252 4.3)
                self._transmit(encodeEmpty(RST, message.messageID), address)
            elif type != NON:
                outgoing = self._settle(address, message.messageID, ACKNOWLEDGED if type == ACK else RESET, now)
                if outgoing is not None and type == ACK:
                    awaiting = self._awaiting.get(address, _NOBODY).get(outgoing.message.token)
                    if awaiting is not None and isRequest(outgoing.message.code):
                        awaiting.acknowledged(now)
        elif isResponse(code) and type != RST:
            self._receiveResponse(message, datagram, address, now)

    def _receiveRequest(self, message: CoAPMessage, datagram: bytes, address: Address, now: float) -> None:
        key = (address, message.messageID)
        mark = hash(datagram)
        seen = self._seen.get(key)
        # The same ID with other content is not a duplicate, but a peer that uses its IDs again too early.
        if seen is not None and seen.datagram == mark:
            if message.type == CON and seen.reply:
                self._transmit(seen.reply, address)
            return
        seen = Received(mark)
        self._seen.put(key, seen, now, 100)
        incoming = Incoming(address, len(datagram), message, seen)
        message.options, wrong = understand(message.options)
        options = message.options
        if options and options[-1][0] >= ECHO:
            self.verification.takeEcho(options, address, now)
        if wrong is None:
            self._upper.requested(message, incoming, now)
        elif message.type == CON:
            self._upper.refused(message, wrong, incoming, now)
        if message.type == CON and not incoming.done:
            self._push(now + self.parameters.processingDelay, incoming)

    def _receiveResponse(self, message: CoAPMessage, datagram: bytes, address: Address, now: float) -> None:
        type = message.type
        key = (address, message.messageID, type)
        seen = None
        token = message.token
        if type == ACK:
            if not self._isAnswer(message, address):
                return
            self._settle(address, message.messageID, ACKNOWLEDGED, now)
        else:
            seen = self._seen.get(key)
            mark = hash(datagram)
            if seen is not None and seen.datagram == mark:
                if seen.reply:
                    self._transmit(seen.reply, address)
                return
            seen = Received(mark)
            self._seen.put(key, seen, now, 100)
        awaiting = self._awaiting.get(address, _NOBODY).get(token)
        message.options, wrong = understand(message.options)
        known = awaiting is not None and wrong is None
        if seen is not None and (type == CON or not known):
            # A reset tells the peer that nobody wants the message, so it need not send more (RFC 7252 4.3, RFC 7641
            # 3.6).
            seen.reply = encodeEmpty(ACK if known else RST, message.messageID)
            self._transmit(seen.reply, address)
        if awaiting is None or wrong is not None:
            return
        self._stopFor(address, token, now)
        # It may ask for something else with the same token.
        if not awaiting.answered(message, now) and self._awaiting.get(address, _NOBODY).get(token) is awaiting:
            self._forgetAwaiting(address, token)

    def _isAnswer(self, message: CoAPMessage, address: Address) -> bool:
        """
        Whether a response that came with an acknowledgement is one to the request that it acknowledges. If not, it is
        as if nothing had come: the request is sent again, and nobody waits for ever (RFC 7252 4.2, 5.3.2, 5.4.1).
        """
        lane = self._lanes.get(address)
        outgoing = None if lane is None else lane.flying.get(message.messageID)
        if outgoing is None:
            return False
        if not isRequest(outgoing.message.code):
            return True
        return outgoing.message.token == message.token and understand(message.options)[1] is None

    def _stopFor(self, address: Address, token: bytes, now: float) -> None:
        """
        A response has come: its request need not be sent again (RFC 7252 4.2).
        """
        lane = self._lanes.get(address)
        if lane is not None:
            for messageID, outgoing in lane.flying.items():
                if outgoing.message.token == token and isRequest(outgoing.message.code):
                    self._settle(address, messageID, ACKNOWLEDGED, now)
                    break

    def _settle(self, address: Address, messageID: int, how: int, now: float) -> OutgoingMessage | None:
        """
        A peer has said something to a message of ours; returns which that is, if it is still on its way.
        """
        lane = self._lanes.get(address)
        outgoing = lane.flying.pop(messageID, None) if lane is not None else None
        if lane is None or outgoing is None:
            if how == RESET:
                told = self._told.pop((address, messageID))
                if told is not None:
                    told(RESET, now)
            return None
        self.verification.verify(address, now)
        if outgoing.message.code == EMPTY:
            lane.probing = False
        self._advance(address, lane, now)
        if outgoing.ended is not None:
            outgoing.ended(how, now)
        if how == RESET and isRequest(outgoing.message.code):
            self._fail(address, outgoing.message.token, RESET, now)
        return outgoing

    def _fail(self, address: Address, token: bytes, how: int, now: float) -> None:
        awaiting = self._awaiting.get(address, _NOBODY).get(token)
        if awaiting is not None:
            self._forgetAwaiting(address, token)
            awaiting.failed(how, now)

    # Outgoing

    def respond(self, incoming: Incoming, response: CoAPMessage, now: float) -> None:
        """
        Answer a request; once.
        """
        if incoming.done:
            return
        silent = not incoming.settle(response)
        response.token = incoming.token
        address = incoming.address
        verified = self.verification.isVerified(address)
        credit = incoming.size * self.parameters.amplification
        if incoming.type == CON and not incoming.acked:
            if silent:
                data = encodeEmpty(ACK, incoming.messageID)
            else:
                response.type, response.messageID = ACK, incoming.messageID
                data = encode(response)
                if not verified and len(data) > credit - PING_LENGTH:
                    most = self.verification.allowance(incoming, response)
                    data = data if len(data) <= most else self.verification.shortened(response, address, most)
            incoming.received.reply = data
            self._seen.weigh(len(data))
            if not verified:
                self.verification.grant(address, credit - len(data), now)
            self._transmit(data, address)
        elif not silent:
            if not verified:
                if incoming.type != CON and len(encode(response)) > credit:
                    response = decode(self.verification.shortened(response, address, credit))
                self.verification.grant(address, credit, now)
            # A separate response is as reliable as its request (RFC 7252 5.2.2, 5.2.3).
            self.send(address, response, incoming.type == CON, None, now)

    def ignore(self, incoming: Incoming) -> None:
        """
        Say nothing to a request but, where it has to be, that it came.
        """
        if not incoming.done:
            incoming.done = True
            if incoming.type == CON and not incoming.acked:
                incoming.received.reply = encodeEmpty(ACK, incoming.messageID)
                self._transmit(incoming.received.reply, incoming.address)

    def send(self, address: Address, message: CoAPMessage, confirmable: bool, ended: Ended | None, now: float) -> None:
        """
        Send a response or notification of its own; it may have to wait for those before it.

        @param ended: is called with how it ended; of one that is not confirmable, only if the peer resets it.
        """
        message.type = CON if confirmable else NON
        outgoing = OutgoingMessage(address, message, ended)
        lane = self._lanes.get(address)
        if lane is None:
            if not confirmable:
                self._transmitOnce(outgoing, now)
                return
            lane = self._lanes[address] = PeerQueue()
        # A message that is not confirmable waits too: it must not overtake the others.
        if lane.waiting or lane.probing or len(lane.flying) >= self.parameters.nstart:
            if len(lane.waiting) >= self.parameters.maxWaiting:
                dropped = lane.waiting.popleft()
                self._end(dropped, DROPPED, now)
            lane.waiting.append(outgoing)
        elif confirmable:
            self._launch(outgoing, lane, now)
        else:
            self._transmitOnce(outgoing, now)

    def request(self, address: Address, message: CoAPMessage, awaiting: Awaiting, now: float) -> bytes:
        """
        Ask a peer for something.

        A peer may acknowledge a request and never answer it: whoever does not want to wait for ever has a time of its
        own for that, and then calls L{forgetRequest}.

        @param message: gets a token, unless it has one.

        @return: the token.
        """
        if not message.token:
            self._tokens = (self._tokens + 1) & 0xFFFFFFFF
            # Not to be guessed, where nothing but that keeps others from answering (RFC 7252 5.3.1).
            message.token = self._tokens.to_bytes(4, "big") + self._random.getrandbits(32).to_bytes(4, "big")
        self._awaiting.setdefault(address, {})[message.token] = awaiting
        self.send(address, message, message.type == CON, None, now)
        return message.token

    def forgetRequest(self, address: Address, token: bytes, now: float) -> None:
        """
        No response is wanted any more: the request is not sent again, and a response that comes will be reset.
        """
        self._forgetAwaiting(address, token)
        lane = self._lanes.get(address)
        if lane is None:
            return
        for outgoing in [*lane.flying.values(), *lane.waiting]:
            if outgoing.message.token == token and isRequest(outgoing.message.code):
                if lane.flying.pop(outgoing.message.messageID, None) is None:
                    lane.waiting.remove(outgoing)
                self._advance(address, lane, now)
                return

    def withdraw(self, address: Address, token: bytes) -> bool:
        """
        Forget a request if it has not been sent yet, because others go before it; returns whether it had not.
        """
        lane = self._lanes.get(address)
        if lane is None:
            return False
        for outgoing in lane.waiting:
            if outgoing.message.token == token and isRequest(outgoing.message.code):
                lane.waiting.remove(outgoing)
                self._forgetAwaiting(address, token)
                return True
        return False

    def _forgetAwaiting(self, address: Address, token: bytes) -> None:
        awaiting = self._awaiting.get(address)
        if awaiting is not None:
            awaiting.pop(token, None)
            if not awaiting:
                del self._awaiting[address]

    def hasRoom(self, address: Address) -> bool:
        """
        Whether a request can be sent to a peer, or take its turn, without others being dropped for it.
        """
        lane = self._lanes.get(address)
        return lane is None or len(lane.waiting) < self.parameters.maxWaiting // 2

    def forget(self, address: Address, now: float) -> None:
        """
        A peer is gone for good: nothing is sent to it any more.
        """
        lane = self._lanes.pop(address, None)
        if lane is not None:
            for outgoing in [*lane.flying.values(), *lane.waiting]:
                self._end(outgoing, DROPPED, now)
            lane.flying.clear()
        self.verification.forget(address)
        for token in list(self._awaiting.get(address, ())):
            self._fail(address, token, DROPPED, now)

    def _end(self, outgoing: OutgoingMessage, how: int, now: float) -> None:
        """
        Tell whoever has sent a message that it has not been received.
        """
        if outgoing.ended is not None:
            outgoing.ended(how, now)
        if isRequest(outgoing.message.code):
            self._fail(outgoing.address, outgoing.message.token, how, now)

    def _advance(self, address: Address, lane: PeerQueue, now: float) -> None:
        """
        Send what waits, as far as it may be sent.
        """
        while lane.waiting and not lane.probing and len(lane.flying) < self.parameters.nstart:
            outgoing = lane.waiting.popleft()
            if outgoing.message.type == CON:
                self._launch(outgoing, lane, now)
            else:
                self._transmitOnce(outgoing, now)
        if not lane.flying and not lane.waiting and self._lanes.get(address) is lane:
            del self._lanes[address]

    def _launch(self, outgoing: OutgoingMessage, lane: PeerQueue, now: float) -> None:
        parameters = self.parameters
        message, address = outgoing.message, outgoing.address
        message.messageID = self._nextMessageID(address, now)
        outgoing.data = encode(message)
        # With all its repetitions, or else one that is lost would be lost for good.
        if not self.verification.affords(address, len(outgoing.data) * (parameters.maxRetransmit + 1), now):
            # RFC 7252 4.3: whoever is there resets a ping.
            lane.waiting.appendleft(outgoing)
            lane.probing = True
            outgoing = OutgoingMessage(address, CoAPMessage(EMPTY, messageID=message.messageID), None)
            message = outgoing.message
            outgoing.data = encode(message)
            self.verification.affords(address, PING_LENGTH, now)
        lane.flying[message.messageID] = outgoing
        outgoing.timeout = parameters.ackTimeout * self._random.uniform(1.0, parameters.ackRandomFactor)
        outgoing.sent = 1
        self._push(now + outgoing.timeout, outgoing)
        self._transmit(outgoing.data, address)

    def _transmitOnce(self, outgoing: OutgoingMessage, now: float) -> None:
        message, address = outgoing.message, outgoing.address
        message.messageID = self._nextMessageID(address, now)
        data = encode(message)
        if not self.verification.affords(address, len(data), now):
            return  # lost, as what is not confirmable may be
        if outgoing.ended is not None:
            self._told.put((address, message.messageID), outgoing.ended, now)
        self._transmit(data, address)

    def _nextMessageID(self, address: Address, now: float) -> int:
        last = self._messageIDs.get(address)
        following = self._random.getrandbits(16) if last is None else (last + 1) & 0xFFFF
        self._messageIDs.put(address, following, now)
        return following

    # Time

    def nextDeadline(self) -> float | None:
        """
        When L{expire} is to be called; L{None} while nothing is due ever.
        """
        deadlines = self._deadlines
        while deadlines and self._isOver(deadlines[0][2]):
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def expire(self, now: float) -> None:
        """
        Do what is due.
        """
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            due = heapq.heappop(deadlines)[2]
            if self._isOver(due):
                continue
            if isinstance(due, Incoming):
                due.acked = True
                due.received.reply = encodeEmpty(ACK, due.messageID)
                self._transmit(due.received.reply, due.address)
            else:
                self._retransmit(due, now)

    def _retransmit(self, outgoing: OutgoingMessage, now: float) -> None:
        address = outgoing.address
        if outgoing.sent <= self.parameters.maxRetransmit:
            outgoing.sent += 1
            outgoing.timeout *= 2
            self._push(now + outgoing.timeout, outgoing)
            if outgoing.message.code != EMPTY or self.verification.affords(address, PING_LENGTH, now):
                self._transmit(outgoing.data, address)
            return
        lane = self._lanes[address]
        del lane.flying[outgoing.message.messageID]
        if outgoing.message.code == EMPTY:
            # Nobody is there for any of those that wait.
            waiting, lane.waiting, lane.probing = lane.waiting, deque(), False
            for each in waiting:
                self._end(each, TIMED_OUT, now)
            self._advance(address, lane, now)
            return
        # Before the next is sent: whoever hears of it may want nothing more to be sent.
        self._end(outgoing, TIMED_OUT, now)
        self._advance(address, lane, now)

    def _isOver(self, due: OutgoingMessage | Incoming) -> bool:
        if isinstance(due, Incoming):
            return due.done
        lane = self._lanes.get(due.address)
        return lane is None or lane.flying.get(due.message.messageID) is not due

    def _push(self, deadline: float, due: OutgoingMessage | Incoming) -> None:
        deadlines = self._deadlines
        # A finished exchange stays until its time; if there are too many, they are swept.
        if len(deadlines) > 1000 and len(deadlines) > 4 * (len(self._lanes) * self.parameters.nstart + 250):
            deadlines[:] = [entry for entry in deadlines if not self._isOver(entry[2])]
            heapq.heapify(deadlines)
        self._count += 1
        heapq.heappush(deadlines, (deadline, self._count, due))
