"""The two runtimes of a node, which pods are whose, and a call that either can answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from cri_api.v1 import api_pb2 as api
from google.protobuf.message import Message

from vmsandbox.config import DelegateConfig, HostNamespace
from vmsandbox.cri.delegation.delegate import Delegate
from vmsandbox.errors import NotFound
from vmsandbox.service import RuntimeService


@dataclass(frozen=True, slots=True)
class Policy:
    """The one place that decides between machine and delegate.

    A pod whose RuntimeClass names one of our handlers never leaves its machine, whatever else it asks for: whoever may
    choose the pod's namespaces must not thereby choose its isolation.
    """

    handlers: frozenset[str]
    """RuntimeClass handlers of the delegate; the empty one is that of pods without RuntimeClass."""
    namespaces: frozenset[HostNamespace]
    """A pod without RuntimeClass that asks for one of the host's is the delegate's."""

    @classmethod
    def of(cls, config: DelegateConfig) -> Self:
        """Return the policy of the configuration."""
        return cls(frozenset(config.handlers), frozenset(config.host_namespaces))

    def delegates(self, handler: str, config: api.PodSandboxConfig) -> bool:
        """Whether the delegate is to run a pod (CRI RunPodSandboxRequest)."""
        if handler in self.handlers:
            return True
        options = config.linux.security_context.namespace_options
        return not handler and any(getattr(options, wanted.value) == api.NODE for wanted in self.namespaces)


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
