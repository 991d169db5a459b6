"""
A STOMP client's session: the effect of its frames, and the frames that it gets. It knows no transport and no reactor;
time is an argument or comes from the broker.

An error in a frame ends the session, as the specification requires: the client gets an ERROR frame, then the connection
closes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from gateways.stomp.acknowledging import Acknowledging
from gateways.stomp.deliveries import ACK_MODES, AUTO
from gateways.stomp.frame import V10, V11, V12, VERSION_NAMES, VERSIONS, Frame, StompError, encode
from gateways.stomp.heartbeat import HeartBeats
from gateways.stomp.mapping import Expired, Sending, flagOf, numberOf
from gateways.stomp.negotiation import needed, negotiated
from gateways.stomp.receiving import Receiving
from gateways.stomp.transactions import Step, Transactions
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.core.reasons import (
    BAD_USERNAME_OR_PASSWORD,
    NORMAL_DISCONNECTION,
    NOT_AUTHORIZED,
    SUCCESS,
    ProtocolError,
    nameOf,
)
from twisted_mqtt.core.topics import checkTopicName

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from gateways.stomp.gateway import StompGateway, StompShell
    from twisted_mqtt.broker.admission import Admission
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.hooks.verdicts import Verdict


# The states of a session, in order.
NEW: Final = 0  # nothing came yet
CONNECTING: Final = 1  # CONNECT came and is being decided
OPEN: Final = 2  # CONNECTED was sent
OVER: Final = 3

_SERVER: Final = "twisted-mqtt"
_LOGIN_ERROR: Final = "Login or passcode error!"


class StompSession:
    """
    One client, from its connection to the end of it.

    @ivar state: what has become of it.
    @ivar version: of STOMP; 0 before it is known.
    @ivar client: the L{GatewayClient<gateways.client.GatewayClient>}: its place in the broker.
    @ivar deadline: when L{expire} is to be called, as a moment; 0 for never.
    """

    __slots__ = (
        "state",
        "version",
        "client",
        "deadline",
        "_gateway",
        "_shell",
        "_connectBy",
        "_beats",
        "_receiving",
        "_acknowledging",
        "_transactions",
        "_headers",
        "_sending",
    )

    def __init__(self, gateway: StompGateway, shell: StompShell, now: float) -> None:
        self._gateway = gateway
        self._shell = shell
        self.state = NEW
        self.version = 0
        self.client = shell.makeClient(self)
        self._connectBy = now + gateway.profile.zone.idle_timeout
        self.deadline = self._connectBy
        self._beats: HeartBeats | None = None
        self._acknowledging = Acknowledging(self, gateway.settings.max_redeliveries)
        self._receiving = Receiving(self, gateway, self._acknowledging)
        self._transactions = Transactions(gateway.transactionLimits)
        # The headers of the last SEND and what they say: the parser knows the same head again.
        self._headers: dict[str, str] | None = None
        self._sending: Sending | None = None

    # For its own parts

    def write(self, wire: bytes) -> None:
        """
        Send a frame with this turn's output.
        """
        self._shell.write(wire)

    def later(self, action: Callable[[], None]) -> None:
        """
        Call something when what is being done now is done.
        """
        self._shell.later(action)

    # Frames from the client

    def handle(self, frame: Frame) -> Maybe[None]:
        """
        Take a frame.

        @return: a Deferred that fires, and does not fail, when the next frame may be taken; L{None} for at once.
        """
        try:
            command = _COMMANDS.get(frame.command)
            if command is None or (self.version == V10 and frame.command == "NACK"):
                raise StompError("unknown command", f"{frame.command[:80]!r}")
            if (self.state == NEW) != (command is StompSession._connect):
                raise StompError("not connected" if self.state == NEW else "already connected")
            outcome = command(self, frame)
        except (StompError, ProtocolError) as error:
            self._refuse(error, frame)
            return None
        except Exception:
            self._gateway.broker.faults.failure("Handling {frame} failed", frame=frame)
            self.fail("internal error", frame=frame)
            return None
        if outcome is None or not isinstance(outcome, Deferred):
            return None
        return outcome.addErrback(self._ebHandle, frame)

    def lost(self, reason: str) -> None:
        """
        The connection is gone.
        """
        if self.state != OVER:
            self._end(reason)

    def expire(self, now: float) -> None:
        """
        The deadline has come, or was put off meanwhile.
        """
        if self.state == OVER:
            self.deadline = 0.0
            return
        if self.state != OPEN:
            # Hooks that are asked about a client have a time-out of their own.
            if self.state == NEW and self._connectBy <= now:
                self.fail("no CONNECT came")
                return
            self.deadline = max(self._connectBy, now + 1.0)
            return
        beats = self._beats
        if beats is not None:
            beats.sent(self._shell.sentBytes, now)
            if beats.isSilent(self.client.link.lastReceived, now) and not self._shell.parked:
                self.fail("no heart-beat came", reason="keepalive_timeout")
                return
            if beats.sendBy and beats.sendBy <= now:
                self.write(b"\n")
                beats.beat(now)
        self._transactions.expire(now)
        self._setDeadline(now)

    # Messages from the broker: the owner of a GatewayClient

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """
        self._receiving.receive(message, qos, packetID, retain, dup, identifiers)

    def released(self, packetID: int) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}. Nothing of the kind is sent to subscriptions of QoS 1.
        """

    def sentAway(self, reason: int, text: str) -> None:
        """
        The broker does not want the client any more, and has forgotten it.
        """
        if self.state == OVER:
            return
        self.state = OVER
        self.deadline = 0.0
        self._shell.close(self._error(nameOf(reason), text))

    # The end

    def fail(self, message: str, detail: str = "", frame: Frame | None = None, reason: int | str = "") -> None:
        """
        Tell the client what was wrong, and end.

        @param frame: what it was wrong with.
        @param reason: what hooks are told; without one, that the client was in the wrong.
        """
        if self.state == OVER:
            return
        self.client.info.farewell = f"{message}: {detail}" if detail else message
        self._shell.close(self._error(message, detail, frame))
        self._end(reason or "protocol_error")

    def failed(self, error: StompError) -> None:
        """
        The bytes that came are no frame.
        """
        self.fail(error.message, error.detail, error.frame)

    def _refuse(self, error: Exception, frame: Frame) -> None:
        if isinstance(error, StompError):
            self.fail(error.message, error.detail, frame)
        elif isinstance(error, ProtocolError):
            self.fail(nameOf(error.reason), error.text, frame, error.reason)

    def _ebHandle(self, failure: Failure, frame: Frame) -> None:
        error = failure.value
        if isinstance(error, StompError | ProtocolError):
            self._refuse(error, frame)
        elif self.state != OVER:
            self._gateway.broker.faults.failure("Handling {frame} failed", failure, frame=frame)
            self.fail("internal error", frame=frame)

    def _end(self, reason: int | str) -> None:
        self.state = OVER
        self.deadline = 0.0
        self.client.lost(reason)

    def _error(self, message: str, detail: str, frame: Frame | None = None) -> bytes:
        headers = [("message", message), ("content-type", "text/plain")]
        if self.state == NEW:
            headers.append(("version", ",".join(VERSIONS)))
        receipt = None if frame is None or frame.command in ("CONNECT", "STOMP") else frame.headers.get("receipt")
        if receipt is not None:
            headers.append(("receipt-id", receipt))
        body = (detail or message).encode("utf-8", "replace") + b"\n"
        headers.append(("content-length", str(len(body))))
        return encode("ERROR", headers, body, self.version or V10)

    # CONNECT

    def _connect(self, frame: Frame) -> Maybe[None]:
        headers = frame.headers
        version = negotiated(headers.get("accept-version"))
        self._beats = HeartBeats.of(headers.get("heart-beat", "0,0"), self._gateway.settings.min_heart_beat)
        login = headers.get("login") or None
        passcode = headers.get("passcode")
        name = headers.get("client-id", "")
        durable = bool(name) and headers.get("clean-session") == "false"
        zone = self._gateway.profile.zone
        window = numberOf(headers, "prefetch-count")
        self.version = version
        self._shell.setVersion(version)
        self.state = CONNECTING
        return then(
            self.client.connect(
                name,
                login,
                None if passcode is None else passcode.encode("utf-8"),
                cleanStart=not durable,
                keepAlive=self._beats.keepAlive,
                sessionExpiry=int(zone.session_expiry_interval) if durable else 0,
                receiveMaximum=min(window, 65535) or None,
                protoName="STOMP",
                protoVersion=version,
            ),
            self._admitted,
            frame,
            durable,
        )

    def _admitted(self, admission: Admission, frame: Frame, durable: bool) -> Maybe[None]:
        if self.state != CONNECTING:
            return None
        reason = admission.reason
        if reason != SUCCESS or admission.challenge is not None:
            wrong = reason in (BAD_USERNAME_OR_PASSWORD, NOT_AUTHORIZED) or admission.challenge is not None
            self.fail(_LOGIN_ERROR if wrong else nameOf(reason), frame=frame, reason=reason)
            return None
        self.state = OPEN
        client, version = self.client, self.version
        headers = [
            ("version", VERSION_NAMES[version]),
            ("server", _SERVER),
            ("session", client.info.clientID),
        ]
        now = self._gateway.seconds()
        beats = self._beats
        if beats is not None and version > V10:
            headers.append(("heart-beat", beats.answer))
        if beats is not None and (version == V10 or not beats.isAlive):
            beats = self._beats = None
        if durable:
            headers.append(("session-present", "true" if admission.sessionPresent else "false"))
        self.write(encode("CONNECTED", headers, b"", version))
        if beats is not None:
            beats.begin(self._shell.sentBytes, now)
        self._setDeadline(now)
        self._receiving.opened(version, admission.sessionPresent)
        return client.begin()

    def _setDeadline(self, now: float) -> None:
        beats = self._beats
        deadline = self._transactions.deadline
        if beats is not None:
            soonest = beats.deadline(self.client.link.lastReceived, now)
            deadline = min(deadline, soonest) if deadline else soonest
        self.deadline = deadline

    # SEND

    def _send(self, frame: Frame) -> Maybe[None]:
        headers = frame.headers
        if headers is self._headers and self._sending is not None:
            sending = self._sending
        else:
            sending = self._sending = Sending(headers, self._gateway.destinations)
            self._headers = headers
        if sending.transaction is not None:
            return self._sendLater(sending, frame)
        return self._publish(sending, frame)

    def _publish(self, sending: Sending, frame: Frame) -> Maybe[None]:
        properties = sending.properties
        if sending.expires:
            try:
                properties = sending.propertiesAt(self._gateway.broker.dates.now())
            except Expired:
                self._receipt(frame)
                return None
        outcome = self.client.publish(sending.topic, frame.body, sending.qos, sending.retain, properties)
        # To be asked of every message: whether it is an int is found out four times as fast.
        if not isinstance(outcome, int):
            return outcome.addCallback(self._published, sending, frame)
        if outcome >= 0x80 or sending.receipt is not None:
            self._published(outcome, sending, frame)
        return None

    def _published(self, reason: int, sending: Sending, frame: Frame) -> None:
        if reason >= 0x80:
            # Nobody is told of a refusal where the zone says so; whoever has asked for a receipt is told in any case.
            ignored = reason == NOT_AUTHORIZED and self.client.info.options.acl_deny_action == "ignore"
            if not ignored or sending.receipt is not None or sending.qos:
                raise StompError(nameOf(reason), f"not sent to {sending.topic[:200]!r}")
            return
        self._receipt(frame)

    def _sendLater(self, sending: Sending, frame: Frame) -> Maybe[None]:
        """
        A SEND in a transaction: what would be refused is refused now, so that COMMIT does all of it or nothing.
        """
        assert sending.transaction is not None
        self._transactions.check(sending.transaction)
        info = self.client.info
        checkTopicName(sending.topic, info.limits.maxTopicLevels)
        allowed = self._gateway.broker.authorize(info, "publish", sending.topic)
        return then(allowed, self._sentLater, sending, frame)

    def _sentLater(self, verdict: Verdict, sending: Sending, frame: Frame) -> None:
        if not verdict.allowed:
            raise StompError(nameOf(verdict.publishReason), f"not sent to {sending.topic[:200]!r}")
        assert sending.transaction is not None
        self._transactions.add(sending.transaction, Step(frame, sending))
        self._receipt(frame)

    # SUBSCRIBE, UNSUBSCRIBE

    def _subscribe(self, frame: Frame) -> Maybe[None]:
        headers = frame.headers
        destination = needed(headers, "destination", frame)
        name = headers.get("id")
        if name is None and self.version > V10:
            raise StompError("missing header", "SUBSCRIBE needs an id")
        mode = ACK_MODES.get(headers.get("ack", "auto"))
        if mode is None:
            raise StompError("invalid header", "ack is auto, client or client-individual")
        qos = 1 if mode != AUTO or numberOf(headers, "qos") or flagOf(headers, "persistent") else 0
        outcome = self._receiving.subscribe(name, destination, mode, qos, self.version)
        return then(outcome, self._subscribed, frame)

    def _subscribed(self, showRetained: Callable[[], None], frame: Frame) -> None:
        self._receipt(frame)
        showRetained()

    def _unsubscribe(self, frame: Frame) -> Maybe[None]:
        headers = frame.headers
        name = headers.get("id")
        if name is None:
            if self.version > V10:
                raise StompError("missing header", "UNSUBSCRIBE needs an id")
            name = needed(headers, "destination", frame)
        return then(self._receiving.unsubscribe(name), self._unsubscribed, frame)

    def _unsubscribed(self, _: object, frame: Frame) -> None:
        self._receipt(frame)

    # ACK, NACK

    def _ack(self, frame: Frame) -> None:
        headers = frame.headers
        self._named(frame)
        name = headers.get("transaction")
        if name is None:
            self._settle(frame)
        else:
            self._transactions.add(name, Step(frame, None))
        self._receipt(frame)

    def _named(self, frame: Frame) -> tuple[str, str | None]:
        """
        How an ACK or NACK names its message, and the subscription if it has to.
        """
        headers = frame.headers
        if self.version == V12:
            return needed(headers, "id", frame), None
        if self.version == V11:
            return needed(headers, "message-id", frame), needed(headers, "subscription", frame)
        return needed(headers, "message-id", frame), None

    def _settle(self, frame: Frame) -> None:
        number, subscription = self._named(frame)
        if frame.command == "ACK":
            self._acknowledging.acknowledge(number, subscription)
        else:
            self._acknowledging.refuse(number, subscription)

    # BEGIN, COMMIT, ABORT

    def _begin(self, frame: Frame) -> None:
        now = self._gateway.seconds()
        self._transactions.begin(needed(frame.headers, "transaction", frame), now)
        self._setDeadline(now)
        self._receipt(frame)

    def _abort(self, frame: Frame) -> None:
        self._transactions.end(needed(frame.headers, "transaction", frame))
        self._receipt(frame)

    def _commit(self, frame: Frame) -> Maybe[None]:
        return self._doAll(self._transactions.end(needed(frame.headers, "transaction", frame)), 0, frame)

    def _doAll(self, steps: list[Step], index: int, frame: Frame) -> Maybe[None]:
        while index < len(steps) and self.state == OPEN:
            step = steps[index]
            index += 1
            if step.sending is None:
                self._settle(step.frame)
                continue
            # Its receipt has been sent: it was for taking the frame into the transaction.
            outcome = self._publishStep(step.sending, step.frame)
            if isinstance(outcome, Deferred):
                return outcome.addCallback(self._stepDone, steps, index, frame)
            self._checkStep(outcome, step.sending)
        self._receipt(frame)
        return None

    def _publishStep(self, sending: Sending, frame: Frame) -> Maybe[int]:
        try:
            properties = sending.propertiesAt(self._gateway.broker.dates.now())
        except Expired:
            return SUCCESS
        return self.client.publish(sending.topic, frame.body, sending.qos, sending.retain, properties)

    def _stepDone(self, reason: int, steps: list[Step], index: int, frame: Frame) -> Maybe[None]:
        sending = steps[index - 1].sending
        if sending is not None:
            self._checkStep(reason, sending)
        return self._doAll(steps, index, frame)

    def _checkStep(self, reason: int, sending: Sending) -> None:
        if reason >= 0x80:
            raise StompError(nameOf(reason), f"not sent to {sending.topic[:200]!r}")

    # DISCONNECT

    def _disconnect(self, frame: Frame) -> None:
        receipt = frame.headers.get("receipt")
        if receipt is None:
            self._goodBye(b"")
        else:
            wire = encode("RECEIPT", [("receipt-id", receipt)], b"", self.version)
            self.client.link.whenSafe(lambda: self._goodBye(wire))

    def _goodBye(self, wire: bytes) -> None:
        if self.state != OVER:
            self._shell.close(wire)
            self._end(NORMAL_DISCONNECTION)

    def _receipt(self, frame: Frame) -> None:
        """
        Send a receipt if it is wanted, once what the frame asked for would survive a crash.
        """
        receipt = frame.headers.get("receipt")
        if receipt is not None and self.state == OPEN:
            wire = encode("RECEIPT", [("receipt-id", receipt)], b"", self.version)
            self.client.link.whenSafe(lambda: self.write(wire))


_COMMANDS: Final[dict[str, Callable[[StompSession, Frame], Maybe[None]]]] = {
    "CONNECT": StompSession._connect,
    "STOMP": StompSession._connect,
    "SEND": StompSession._send,
    "SUBSCRIBE": StompSession._subscribe,
    "UNSUBSCRIBE": StompSession._unsubscribe,
    "ACK": StompSession._ack,
    "NACK": StompSession._ack,
    "BEGIN": StompSession._begin,
    "COMMIT": StompSession._commit,
    "ABORT": StompSession._abort,
    "DISCONNECT": StompSession._disconnect,
}
