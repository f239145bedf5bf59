"""The observer of a pod that runs: the command line prints, tests assert."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vmsandbox.images import PullProgress
from vmsandbox.model import ContainerStatus, Image, SandboxStatus
from vmsandbox.protocol.messages import Stream


@dataclass(frozen=True, slots=True)
class OutputLine:
    """A line that a container printed, without its end; one that is very long comes in several parts."""

    container: str
    stream: Stream
    text: bytes
    complete: bool = True
    """Whether the line ends here: a part that is not the last one, or output without a last line end, does not."""


class PodObserver(Protocol):
    """Receives the events of one pod, in order. Only `output` may be slow: it holds the container back meanwhile."""

    def pulling(self, image: str, progress: PullProgress) -> None:
        """An image is being pulled; called several times a second."""
        ...

    def image_ready(self, image: str, found: Image, *, pulled: bool) -> None:
        """An image is there: pulled now, or held before."""
        ...

    def sandbox_starting(self) -> None:
        """All images are there; the machine is being made."""
        ...

    def sandbox_ready(self, status: SandboxStatus) -> None:
        """The machine runs."""
        ...

    def container_started(self, name: str, status: ContainerStatus) -> None:
        """A container runs; `status.config.metadata.attempt` counts its restarts."""
        ...

    def container_ended(self, name: str, status: ContainerStatus) -> None:
        """A container has ended, and all its output was told; `status.reason` says why, e.g. OOMKilled."""
        ...

    def container_restarting(self, name: str, delay: float) -> None:
        """A container that has ended is started again in `delay` seconds."""
        ...

    def stopping(self, reason: str) -> None:
        """The pod's containers are being asked to end, e.g. as its deadline has passed."""
        ...

    def warning(self, message: str) -> None:
        """Something went wrong that does not end the pod, e.g. a preStop hook."""
        ...

    async def output(self, lines: Sequence[OutputLine]) -> None:
        """A container has printed these lines, in this order; they are all of one of its streams."""
        ...
