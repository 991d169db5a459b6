"""
An LwM2M device for tests, made of aiocoap and nothing of the gateway's: it registers, and answers every operation.

Tests call it from their own thread; it lives in a loop of its own, which L{Loop} runs.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import aiocoap
from aiocoap import Message
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.codes import Code
from aiocoap.resource import Resource
from aiocoap.tokenmanager import TokenManager

from tests.system.lwm2m.answering import ALL_FORMATS, Answering, Asked
from tests.system.lwm2m.formats import SENML_CBOR, TLV, Path, pathOf, textOf
from tests.system.lwm2m.link import Link, Security
from tests.system.process import PATIENCE

T = TypeVar("T")


class Loop:
    """
    A thread in which devices live.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], patience: float = PATIENCE) -> T:
        """
        Have something done there, and wait for it.
        """
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(patience)
        except TimeoutError:
            future.cancel()
            raise

    def stop(self) -> None:
        """
        End it.
        """
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


class Answer(NamedTuple):
    """
    The answer of the server.
    """

    code: str
    location: tuple[str, ...]
    payload: bytes


class Observation:
    """
    Something that the server observes.
    """

    def __init__(self, request: Any, paths: list[Path]) -> None:
        self.request = request
        self.paths = paths
        self.number = 0
        self.due: asyncio.Queue[tuple[Any, int | None]] = asyncio.Queue()


class _Site(Resource):  # type: ignore[misc]  # aiocoap comes without types
    """
    Where aiocoap hands requests to.
    """

    def __init__(self, device: Device) -> None:
        super().__init__()
        self._device = device

    async def render_to_pipe(self, pipe: Any) -> None:
        """
        Answer a request, which lasts as long as it observes.
        """
        device = self._device
        request = self._block1.feed_and_take(pipe.request)
        path = textOf(device.inside(request))
        if request.opt.block2 is None or request.opt.block2.block_number == 0:
            device.note(request)
        held = device.held.get(path)
        if held is not None:
            # aiocoap acknowledges meanwhile, so that the answer comes apart.
            await held.wait()
        if request.opt.observe == 0:
            await self._observe(pipe, request)
            return
        response = await self._block2.extract_or_insert(request, lambda: self._answer(request))
        response.opt.block1 = request.opt.block1
        pipe.add_response(response, is_last=True)

    async def _answer(self, request: Any) -> Any:
        return self._device.answer(request)

    async def _observe(self, pipe: Any, request: Any) -> None:
        device = self._device
        observation = Observation(request, device.pathsOf(request))
        first = await self._block2.extract_or_insert(request, lambda: self._answer(request))
        if not first.code.is_successful():
            pipe.add_response(first, is_last=True)
            return
        first.opt.observe = observation.number
        device.observations.append(observation)
        try:
            pipe.add_response(first, is_last=False)
            while True:
                kind, number = await observation.due.get()
                observation.number = observation.number + 1 if number is None else number
                response = await self._block2.extract_or_insert(request, lambda: self._answer(request))
                response.opt.observe = observation.number
                response.mtype = kind
                pipe.add_response(response, is_last=False)
        finally:
            device.observations.remove(observation)
            device.ended.put(textOf(device.inside(request)))


class Device(Answering):
    """
    A device, which is asleep until it is opened.

    @ivar observations: what is observed now.
    @ivar ended: the paths of observations that have ended.
    @ivar held: what lets the answers to be held go, by path.
    @ivar link: its socket.
    """

    def __init__(
        self,
        loop: Loop,
        server: tuple[str, int],
        endpoint: str,
        root: str = "",
        security: Security | None = None,
        form: int = TLV,
        stubborn: bool = False,
        forms: frozenset[int] = ALL_FORMATS,
        fate: Callable[[bytes], bool] | None = None,
    ) -> None:
        """
        @param root: the alternate path below which its objects are.
        @param fate: says of each datagram to or from it whether it is lost.
        """
        Answering.__init__(self, root, form, stubborn, forms)
        self._loop = loop
        self._server = server
        self._security = security
        self._fate = fate
        self.endpoint = endpoint
        self.observations: list[Observation] = []
        self.ended: queue.Queue[str] = queue.Queue()
        self.held: dict[str, asyncio.Event] = {}
        self._context: Any = None
        self.link: Any = None

    def __enter__(self) -> Device:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()

    # Its socket

    def open(self, port: int = 0) -> int:
        """
        Open the socket, another in place of one that is open; with DTLS, shake hands.

        @return: the port.

        @raise ConnectionError: if the handshake fails.
        """
        return self._loop.run(self.opening(port))

    async def opening(self, port: int = 0) -> int:
        """
        L{open} for those who are in the loop.
        """
        if self._context is None:
            context = aiocoap.Context(loop=self._loop.loop, serversite=_Site(self), loggername="device")
            tokens = TokenManager(context)
            messages = MessageManager(tokens)
            self.link = messages.message_interface = Link(messages, self._server, self._security)
            self.link.hold = self._fate
            tokens.token_interface = messages
            context.request_interfaces.append(tokens)
            self._context = context
        opened = await self.link.open(port)
        return int(opened)

    def shut(self) -> None:
        """
        Go without a word, for good.
        """
        self._loop.run(self._shut())

    async def _shut(self) -> None:
        if self._context is not None:
            context, self._context = self._context, None
            await context.shutdown()
            # Lets what was cancelled end.
            await asyncio.sleep(0)

    def sleep(self) -> None:
        """
        Hear nothing, as in queue mode, until L{wake}.
        """
        self._loop.run(self._listen(False))

    def wake(self) -> None:
        """
        Hear again.
        """
        self._loop.run(self._listen(True))

    async def _listen(self, listening: bool) -> None:
        self.link.listening = listening

    def raw(self, data: bytes) -> None:
        """
        Send bytes.
        """

        async def work() -> None:
            self.link.raw(data)

        self._loop.run(work())

    # Registration

    def register(
        self,
        lifetime: int | None = 300,
        version: str | None = "1.0",
        binding: str | None = None,
        links: str | None = None,
        **more: str,
    ) -> Answer:
        """
        Register, with further options as C{more}.
        """
        words = [f"ep={self.endpoint}"]
        words += [] if lifetime is None else [f"lt={lifetime}"]
        words += [] if version is None else [f"lwm2m={version}"]
        words += [] if binding is None else [f"b={binding}"]
        words += [f"{name}={value}" for name, value in more.items()]
        answer = self.say("POST", ("rd",), words, (self.links() if links is None else links).encode(), 40)
        if answer.code == "2.01":
            self.location = answer.location
        return answer

    def links(self) -> str:
        """
        Get the links that it announces.
        """
        found = self.objects.links(self.root)
        return f'<{self.root}>;rt="oma.lwm2m",{found}' if self.root else found

    def update(self, *words: str, links: str | None = None) -> Answer:
        """
        Update the registration, with options as C{"lt=60"}.
        """
        payload, form = (b"", None) if links is None else (links.encode(), 40)
        return self.say("POST", self.location, list(words), payload, form)

    def deregister(self) -> Answer:
        """
        De-register.
        """
        return self.say("DELETE", self.location)

    def send(self, entries: dict[str, Any], form: int = SENML_CBOR) -> Answer:
        """
        Send values unasked (1.1).
        """
        pairs = [(pathOf(path), value) for path, value in entries.items()]
        return self.say("POST", ("dp",), [], self.pack((), pairs, form), form)

    def say(
        self,
        method: str,
        path: tuple[str, ...],
        query: list[str] | tuple[str, ...] = (),
        payload: bytes = b"",
        form: int | None = None,
        **options: Any,
    ) -> Answer:
        """
        Ask the server something, and wait for its answer.
        """
        return self._loop.run(self.saying(method, path, query, payload, form, **options))

    async def saying(
        self,
        method: str,
        path: tuple[str, ...],
        query: list[str] | tuple[str, ...] = (),
        payload: bytes = b"",
        form: int | None = None,
        **options: Any,
    ) -> Answer:
        """
        L{say} for those who are in the loop.
        """
        message = Message(code=getattr(Code, method), payload=payload, uri_path=path, uri_query=query, **options)
        if form is not None:
            message.opt.content_format = form
        message.remote = self.link
        response = await self._context.request(message).response
        return Answer(response.code.dotted, tuple(response.opt.location_path), response.payload)

    # For tests

    def next(self) -> Asked:
        """
        The next request that it was asked; waits for it.
        """
        return self.asked.get(timeout=PATIENCE)

    def notify(self, path: str, value: Any, confirmable: bool = False, number: int | None = None) -> None:
        """
        Change a value, and notify who observes it.

        @param number: the value of the option Observe, if not the next one.
        """
        self._loop.run(self._notify(pathOf(path), value, confirmable, number))

    async def _notify(self, path: Path, value: Any, confirmable: bool, number: int | None) -> None:
        self.objects.values[path] = value
        for observation in self.observations:
            if any(path[: len(each)] == each for each in observation.paths):
                observation.due.put_nowait((aiocoap.CON if confirmable else aiocoap.NON, number))

    def hold(self, path: str) -> None:
        """
        Acknowledge requests for a path, but answer them only when L{release} is called.
        """

        async def work() -> None:
            self.held[path] = asyncio.Event()

        self._loop.run(work())

    def release(self, path: str) -> None:
        """
        Answer what was held.
        """

        async def work() -> None:
            self.held.pop(path).set()

        self._loop.run(work())
