"""
C{/restmqtt/api/v1/publish}: a message by HTTP, as VerneMQ takes it (spec/vernemq.md 19, API-10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_mqtt.base.waiting import settled
from twisted_mqtt.hooks.verdicts import AuthResult
from twisted_mqtt.management.builtin.messages import MessageProperties, Publish, UserProperty, publishMessage
from twisted_mqtt.management.rest.resource import queryOf, readBody
from twisted_mqtt.management.rest.sending import Gone, Sending
from twisted_mqtt.operations.binding import bind
from twisted_mqtt.operations.operation import INVALID, NOT_JSON, UNKNOWN, WRONG_PASSWORD, Refused

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from twisted_mqtt.interfaces import IBroker, IClient
    from twisted_mqtt.management.rest.credentials import Credentials
    from twisted_mqtt.management.settings import PublishSettings

_log = Logger()
_encode: Final = msgspec.json.Encoder().encode

#: What headers may say.
_HEADERS: Final = ("topic", "qos", "retain", "user", "password", "client_id")


class HTTPPublish(Struct, kw_only=True):
    """
    A message, and for whom it is published.
    """

    topic: str
    payload: Any = UNSET
    encoding: Annotated[str, Meta(pattern="^(plain|base64)$")] = "plain"
    qos: Annotated[int, Meta(ge=0, le=2)] = 0
    retain: bool = False
    user: str | None = None
    password: str | None = None
    client_id: str = ""
    user_properties: dict[str, Any] | list[UserProperty] = {}


class PublishAPI(Resource):
    """
    See the module.
    """

    isLeaf = True

    def __init__(self, broker: IBroker, credentials: Credentials, settings: PublishSettings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self._broker = broker
        self._credentials = credentials
        self._settings = settings

    def render(self, request: Request) -> int:
        """
        Answer a request.
        """
        sending = Sending(request)
        ensureDeferred(self._answer(request, sending)).addErrback(self._ebAnswer, sending)
        return NOT_DONE_YET

    async def _answer(self, request: Request, sending: Sending) -> None:
        try:
            if any(request.postpath or ()):
                raise Refused(404, "there is no such call", 404)
            if request.method not in (b"POST", b"PUT"):
                request.setHeader(b"allow", b"POST, PUT")
                raise Refused(405, "this path takes POST and PUT", 405)
            caller = await self._credentials.check(request)
            if not caller.may("publish"):
                raise Refused(403, f"{caller.name!r} is not allowed to publish", 403)
            asked = _messageOf(request)
            who = await self._whoFor(asked, caller.address)
            message = Publish(
                topic=asked.topic,
                payload=asked.payload,
                encoding=asked.encoding,
                qos=asked.qos,
                retain=asked.retain,
                properties=MessageProperties(user_properties=asked.user_properties),
            )
            await publishMessage(self._broker, who, message)
            sending.send(b'{"code":0}')
        except Refused as refusal:
            sending.send(_encode({"code": refusal.code, "message": str(refusal)}), status=refusal.status)

    async def _whoFor(self, asked: HTTPPublish, address: str) -> IClient:
        """
        On whose behalf a message is published. It is asked for as a client is that connects; there is no session.

        @raise Refused: nobody who may come in.
        """
        user, password, clientID = asked.user, asked.password, asked.client_id
        settings, broker = self._settings, self._broker
        if settings.auth == "predefined":
            user, password, clientID = settings.user or None, settings.password or None, settings.client_id
        clientID = clientID or "http"
        client = broker.account(clientID, user, address or None, "http")
        ban = broker.bans.find(client)
        if ban is not None:
            raise Refused(WRONG_PASSWORD, f"client_id: its {ban.kind} is banned", 401)
        client.password = None if password is None else password.encode("utf-8")
        welcome = broker.settings.allow_anonymous is True
        result = AuthResult("success" if welcome else "not_authorized", anonymous=True)
        result = await settled(broker.hooks.clientAuthenticate.fold(client, result))
        client.password = None
        if not result.success:
            raise Refused(WRONG_PASSWORD, "user, password: nobody who may connect", 401)
        account = broker.account(
            result.clientID or clientID,
            user if result.username is None else result.username,
            address or None,
            "http",
            isSuperuser=result.isSuperuser,
            topicTree=result.topicTree or "",
        )
        if result.mountpoint is not None:
            account.mountpoint = result.mountpoint
        return account

    def _ebAnswer(self, failure: Failure, sending: Sending) -> None:
        if failure.check(Gone):
            return
        _log.failure("a message can't be published", failure)
        sending.send(_encode({"code": UNKNOWN, "message": "internal error; see the log of the broker"}), status=500)


def _messageOf(request: Request) -> HTTPPublish:
    """
    The message of a request: its fields are in the query, or in headers, and its body is the payload; or the body has
    them all, as JSON.

    @raise Refused: there is none.
    """
    query = queryOf(request)
    encoding = query.get("encoding", "plain")
    texts: dict[str, str | list[str]] = {}
    if "topic" in query:
        texts = {name: value for name, value in query.items() if name != "user_properties"}
    elif request.getHeader(b"topic") is not None:
        for name in _HEADERS:
            value = request.getHeader(name.encode("ascii")) or request.getHeader(name.replace("_", "-").encode("ascii"))
            if value is not None:
                texts[name] = _decoded(value, name)
        texts["encoding"] = encoding
    if not texts:
        values = readBody(request, {})
        if isinstance(values, list):
            raise Refused(NOT_JSON, "the body: an object is expected, not a list")
        return bind(HTTPPublish, {"encoding": encoding}, values)
    if "payload" not in texts:
        body = b"" if request.content is None else request.content.read()
        texts["payload"] = ""
        message = bind(HTTPPublish, texts, {})
        message.payload = _decoded(body, "the body")
        return message
    return bind(HTTPPublish, texts, {})


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(INVALID, f"{name}: it is not UTF-8; encoding=base64 takes anything") from None
