"""A channel that leads to several runtimes of one host: the daemon, and processes of `vmsandbox run`.

What is listed is what all of them have. A call that names a sandbox or a container goes to the runtime that has it. All
other calls, such as those on images, which all runtimes of a host share, go to the first. A runtime that has ended or
hangs is left out of lists, with a warning.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox import aio, log

_log = log.get(__name__)

DEADLINE = 10.0
"""Seconds in which each of several runtimes has to answer a question that goes to all of them."""

_MERGED = (
    "ListPodSandbox",
    "ListContainers",
    "ListContainerStats",
    "ListPodSandboxStats",
    "ListPodSandboxMetrics",
)

_ENDING = {
    "StopContainer": b"",
    "RemoveContainer": b"",
    "StopPodSandbox": b"",
    "RemovePodSandbox": b"",
    "EndPod": b"{}",
}
"""The calls that succeed for what is gone, and so for the pod of a `run` that has ended meanwhile; their answers."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of the runtimes."""

    name: str
    """The socket of the runtime, for messages."""
    channel: grpc.aio.Channel
    is_run: bool = False
    """Whether it is a `vmsandbox run`, which ends with its pod."""

    @property
    def has_ended(self) -> bool:
        """Whether it is a `run` that has ended by itself: one that was killed leaves its socket."""
        return self.is_run and not Path(self.name).exists()


class JoinedChannel:
    """Stands for a channel of gRPC, as far as the generated stubs use one. The members' channels are the caller's."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Lead to these, of which there is at least one."""
        self._members = tuple(members)
        self._owners: dict[str, int] = {}
        """The place of the member that has a sandbox or container, by its id, as far as that is known."""

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Callable[..., Awaitable[Any]]:
        """Make a call of the stub (grpc.aio.Channel.unary_unary)."""
        calls = [member.channel.unary_unary(method, *arguments, **options) for member in self._members]
        name = method.rpartition("/")[2]

        async def call(request: Any, timeout: float | None = None) -> Any:
            if name in _MERGED and len(calls) > 1:
                return await self._merged(calls, request, timeout)
            place = await self._place(request)
            try:
                return await calls[place](request, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                if name in _ENDING and error.code() is grpc.StatusCode.UNAVAILABLE and self._members[place].has_ended:
                    return options["response_deserializer"](_ENDING[name])
                raise

        return call

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Callable[[Any], "JoinedStream"]:
        """Make a call of the stub that is answered by a stream (grpc.aio.Channel.unary_stream)."""
        calls = [member.channel.unary_stream(method, *arguments, **options) for member in self._members]
        return lambda request: JoinedStream(self._members, [call(request) for call in calls])

    async def _merged(self, calls: Sequence[Any], request: Any, timeout: float | None) -> Any:
        """The answers of all, joined. Raises the first error where all fail."""
        bound = DEADLINE if timeout is None else min(timeout, DEADLINE)
        answers = await asyncio.gather(*(call(request, timeout=bound) for call in calls), return_exceptions=True)
        joined: Any = None
        for place, answer in enumerate(answers):
            if isinstance(answer, BaseException):
                continue
            self._remember(place, answer)
            joined = answer if joined is None else _with(joined, answer)
        for member, answer in zip(self._members, answers, strict=True):
            if isinstance(answer, BaseException):
                if joined is None or not isinstance(answer, grpc.aio.AioRpcError):
                    raise answer
                _warn(member, answer)
        return joined

    def _remember(self, place: int, answer: Any) -> None:
        for kind in ("items", "containers"):
            for item in getattr(answer, kind, ()):
                self._owners[item.id] = place

    async def _place(self, request: Any) -> int:
        """The member that a call is for; the first, where it names nothing that any of them has."""
        if len(self._members) == 1:
            return 0
        if container_id := getattr(request, "container_id", ""):
            return await self._owner(container_id, _ask_container)
        if sandbox_id := getattr(request, "pod_sandbox_id", ""):
            return await self._owner(sandbox_id, _ask_sandbox)
        return 0

    async def _owner(self, identifier: str, ask: Callable[[Member, str], Awaitable[object]]) -> int:
        """Raises the error of a runtime that does not answer, where the others do not have it."""
        if identifier not in self._owners:
            answers = await asyncio.gather(
                *(ask(member, identifier) for member in self._members), return_exceptions=True
            )
            failures = [answer for answer in answers if isinstance(answer, BaseException) and not _is_unknown(answer)]
            place = next((at for at, answer in enumerate(answers) if not isinstance(answer, BaseException)), None)
            if place is None and failures:
                raise failures[0]
            self._owners[identifier] = place or 0
        return self._owners[identifier]


def _ask_sandbox(member: Member, identifier: str) -> Awaitable[object]:
    stub = api_pb2_grpc.RuntimeServiceStub(member.channel)
    request = api.PodSandboxStatusRequest(pod_sandbox_id=identifier)
    return _call(stub.PodSandboxStatus, request)


def _ask_container(member: Member, identifier: str) -> Awaitable[object]:
    stub = api_pb2_grpc.RuntimeServiceStub(member.channel)
    return _call(stub.ContainerStatus, api.ContainerStatusRequest(container_id=identifier))


async def _call(call: Callable[..., Awaitable[object]], request: object) -> object:
    return await call(request, timeout=DEADLINE)


def _is_unknown(error: BaseException) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.NOT_FOUND


def _with(joined: Any, answer: Any) -> Any:
    joined.MergeFrom(answer)
    return joined


def _warn(member: Member, error: grpc.aio.AioRpcError) -> None:
    if member.has_ended:
        return
    reason = "it does not answer" if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else error.details()
    _log.warning("%s is left out: %s", member.name, reason)


class JoinedStream:
    """The streams of all runtimes as one, which ends when all have ended.

    A stream that fails ends with a warning; the last one raises its error.
    """

    def __init__(self, members: Sequence[Member], calls: Sequence[Any]) -> None:
        """Join calls of the members, in their order."""
        self._calls = dict(zip(members, calls, strict=True))

    async def initial_metadata(self) -> None:
        """Return when each runtime has taken the call, or does not answer in time. Raises the error of the last."""
        await asyncio.gather(*(self._begin(member, call) for member, call in list(self._calls.items())))

    def cancel(self) -> None:
        """End all calls."""
        for call in self._calls.values():
            call.cancel()

    def __aiter__(self) -> AsyncIterator[Any]:
        """Give the messages as they come."""
        return self._messages()

    async def _begin(self, member: Member, call: Any) -> None:
        try:
            await asyncio.wait_for(call.initial_metadata(), DEADLINE if len(self._calls) > 1 else None)
        except TimeoutError:
            call.cancel()
            _log.warning("%s is left out: it does not answer", member.name)
            del self._calls[member]
        except grpc.aio.AioRpcError as error:
            self._lost(member, error)

    def _lost(self, member: Member, error: grpc.aio.AioRpcError) -> None:
        if len(self._calls) == 1:
            raise error
        _warn(member, error)
        del self._calls[member]

    async def _messages(self) -> AsyncGenerator[Any, None]:
        sources = {member: aiter(call) for member, call in self._calls.items()}
        nexts = {asyncio.ensure_future(anext(source)): member for member, source in sources.items()}
        try:
            while nexts:
                done, _ = await asyncio.wait(nexts, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    member = nexts.pop(task)
                    try:
                        message = task.result()
                    except StopAsyncIteration:
                        del self._calls[member]
                        continue
                    except grpc.aio.AioRpcError as error:
                        self._lost(member, error)
                        continue
                    nexts[asyncio.ensure_future(anext(sources[member]))] = member
                    yield message
        finally:
            await aio.cancel(*nexts)
