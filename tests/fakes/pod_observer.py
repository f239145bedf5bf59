"""A `PodObserver` that remembers what it was told, as lines that a test can compare."""

import asyncio
from collections.abc import Sequence

from vmsandbox.images.store.progress import PullProgress
from vmsandbox.model import ContainerStatus, Image, SandboxStatus
from vmsandbox.pod.run import OutputLine, PodObserver


class RecordingObserver(PodObserver):
    def __init__(self) -> None:
        self.events: list[str] = []
        self.lines: list[OutputLine] = []
        self.statuses: list[ContainerStatus] = []
        self._changed = asyncio.Event()

    def pulling(self, image: str, progress: PullProgress) -> None:
        self._note(f"pulling {image} {progress.done}/{progress.total}")

    def image_ready(self, image: str, found: Image, *, pulled: bool) -> None:
        self._note(f"{'pulled' if pulled else 'held'} {image}")

    def sandbox_starting(self) -> None:
        self._note("sandbox starting")

    def sandbox_ready(self, status: SandboxStatus) -> None:
        self._note(f"sandbox ready {status.ips[0]}")

    def container_started(self, name: str, status: ContainerStatus) -> None:
        self._note(f"started {name} {status.config.metadata.attempt}")

    def container_ended(self, name: str, status: ContainerStatus) -> None:
        self.statuses.append(status)
        self._note(f"ended {name} {status.exit_code} {status.reason}")

    def container_restarting(self, name: str, delay: float) -> None:
        self._note(f"restarting {name} {delay:g}")

    def stopping(self, reason: str) -> None:
        self._note(f"stopping: {reason}")

    def warning(self, message: str) -> None:
        self._note(f"warning: {message}")

    async def output(self, lines: Sequence[OutputLine]) -> None:
        assert len({(line.container, line.stream) for line in lines}) == 1
        for line in lines:
            self.lines.append(line)
            self._note(f"{line.container}: {line.text.decode()}")

    async def until(self, event: str) -> None:
        """Wait until an event was told."""
        async with asyncio.timeout(10):
            while event not in self.events:
                self._changed.clear()
                await self._changed.wait()

    def _note(self, event: str) -> None:
        self.events.append(event)
        self._changed.set()
