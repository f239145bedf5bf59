"""The two runtimes of a node, and a call that either can answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from vmsandbox.cri.delegation.delegate import Delegate
from vmsandbox.cri.delegation.policy import Policy
from vmsandbox.errors import NotFound
from vmsandbox.service import RuntimeService

Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class Runtimes:
    """Ours, the delegate, and who is to run what."""

    service: RuntimeService
    delegate: Delegate
    policy: Policy

    def owns_sandbox(self, text: str) -> bool:
        """Whether it is ours to answer for: an id or its beginning, or none at all."""
        return not text or any(sandbox.id.startswith(text) for sandbox in self.service.list_pod_sandboxes())

    def owns_container(self, text: str) -> bool:
        """Return whether the runtime has the container, like `owns_sandbox`."""
        return not text or any(container.id.startswith(text) for container in self.service.list_containers())


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """A call that came in; awaiting `ours()` or `theirs()` makes it, with the deadline that it came with."""

    request: Any
    ours: Callable[[], Awaitable[Answer]]
    theirs: Callable[[], Awaitable[Answer]]


async def answered(call: Call[Answer], *, by_us: bool) -> Answer:
    """One runtime's answer."""
    return await (call.ours() if by_us else call.theirs())


async def ended(call: Call[Answer], *, by_us: bool) -> Answer:
    """Answer a call that succeeds for an unknown object (CRI StopContainer); containerd 1.6 refuses it."""
    try:
        return await answered(call, by_us=by_us)
    except NotFound:
        return await call.ours()


async def merged(call: Call[Answer]) -> Answer:
    """Both runtimes' answers: lists are joined.

    Raises:
        VmsandboxError: either failed. A list without the delegate's pods would have the kubelet start them again.
    """
    answer = await call.ours()
    answer.MergeFrom(await call.theirs())
    return answer
