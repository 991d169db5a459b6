"""
Pushes all metrics to a push gateway of Prometheus, in the text format, as C{POST
<server>/metrics/job/<name>/instance/<name>~<host>} with the parts of the node's name
(spec/hooks-modules-sys.md 6.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.web.client import RequestGenerationFailed, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from twisted_mqtt.base.about import versionText
from twisted_mqtt.base.exposition import TEXT, completed, encoded, families
from twisted_mqtt.monitoring.outage import Outage

if TYPE_CHECKING:
    from twisted.internet.interfaces import IConsumer
    from twisted.python.failure import Failure
    from twisted.web.iweb import IAgent, IResponse

    from twisted_mqtt.interfaces import IExtensionContext
    from twisted_mqtt.monitoring.settings import StatsDSettings

#: Seconds for a push from its beginning to the end of its answer.
TIMEOUT: Final = 10.0
#: Longest pause between two attempts, in seconds, where pushes fail and the interval is shorter.
LONGEST_PAUSE: Final = 60.0
# So much of what a gateway says is looked at, and so much of that told.
_MOST_SAID: Final = 4096
_MOST_TOLD: Final = 200


class Refused(Exception):
    """
    The gateway does not take what it was sent.
    """


@implementer(IBodyProducer)
class Body:
    """
    A body that is there as a whole.
    """

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """
        See L{IBodyProducer}.
        """
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """
        See L{IBodyProducer}: everything is written.
        """

    def resumeProducing(self) -> None:
        """
        See L{IBodyProducer}.
        """

    def stopProducing(self) -> None:
        """
        See L{IBodyProducer}.
        """


class Said(Protocol):
    """
    The beginning of what a gateway says; from a certain length on the connection is closed.

    @ivar over: fires with it.
    """

    def __init__(self) -> None:
        self.over: Deferred[bytes] = Deferred()
        self._found = b""

    def dataReceived(self, data: bytes) -> None:
        """
        See C{IProtocol}.
        """
        self._found += data
        if len(self._found) > _MOST_SAID and self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        See C{IProtocol}.
        """
        if not self.over.called:
            self.over.callback(self._found[:_MOST_SAID])


class PushGateway:
    """
    Pushes again and again.
    """

    def __init__(self, context: IExtensionContext, settings: StatsDSettings, server: str, agent: IAgent) -> None:
        self._context = context
        self._settings = settings
        self._agent = agent
        self._isOver = False
        name, _, host = context.broker.nodeName.partition("@")
        instance = f"{name}~{host}"
        self._url = f"{server}/metrics/job/{quote(name, safe='')}/instance/{quote(instance, safe='')}".encode("ascii")
        self._outage = Outage(context, "push_gateway_down", f"the push gateway at {server}")
        self._pushed = context.counter("pushgateway.pushed", "Samples of all metrics pushed to Prometheus").own

    def begin(self) -> None:
        """
        Begin to push, in the pauses that the configuration says, and after failures in growing ones; it ends with the
        context.
        """
        self._context.run(self._keepPushing(), "pushing to Prometheus")
        # Swept first: what is cancelled then fails in ways of its own, and that is no outage.
        self._context.addCleanup("pushing to Prometheus", self._end)

    def _end(self) -> None:
        self._isOver = True

    async def _keepPushing(self) -> None:
        interval = self._settings.interval
        pause = interval
        while True:
            await deferLater(self._context.clock, pause)
            try:
                await self._push()
            except Exception as error:
                if self._isOver:
                    return
                self._outage.failed(_reasonOf(error))
                pause = max(interval, min(2 * pause, LONGEST_PAUSE))
            else:
                self._pushed.value += 1
                self._outage.works()
                pause = interval

    async def _push(self) -> None:
        broker, style = self._context.broker, self._settings.metric_names
        parts = families(completed(broker.metrics.collect(), style), style)
        body = encoded("".join(await broker.portions.all(parts)))
        asked = Deferred.fromCoroutine(self._post(body))
        await asked.addTimeout(TIMEOUT, self._context.clock)

    async def _post(self, body: bytes) -> None:
        headers = Headers({b"User-Agent": [f"twisted-mqtt/{versionText()}".encode()], b"Content-Type": [TEXT.encode()]})
        response: IResponse = await self._agent.request(b"POST", self._url, headers, Body(body))
        said = Said()
        response.deliverBody(said)
        try:
            text = await said.over
        except CancelledError:
            if said.transport is not None:
                said.transport.loseConnection()
            raise
        if not 200 <= response.code < 300:
            told = text.decode("utf-8", "replace").strip()[:_MOST_TOLD]
            raise Refused(f"it answers {response.code}" + (f": {told}" if told else ""))


def _reasonOf(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"it has not answered for {TIMEOUT:.0f} s"
    if isinstance(error, ResponseFailed | RequestGenerationFailed):
        return ", ".join(str(reason.getErrorMessage()) for reason in error.reasons)
    return str(error) or type(error).__name__
