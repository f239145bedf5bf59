"""The output of `vmsandbox run`: progress, and lines of the containers, each after the container's name."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Self

from rich.markup import escape

from vmsandbox.cli import terminal
from vmsandbox.cli.line_writer import LineWriter
from vmsandbox.images import PullProgress
from vmsandbox.model import ContainerStatus, Image, SandboxStatus
from vmsandbox.pod.run.observer import OutputLine
from vmsandbox.protocol.messages import Stream

_COLOURS = (36, 35, 32, 33, 34, 96, 95, 92, 93, 94)
"""ANSI, one for each container in turn."""


@dataclass(slots=True)
class PodView:
    """Implements `pod.observer.PodObserver`. Standard error of a container goes to ours, all else to stdout."""

    names: tuple[str, ...]
    """The names of the containers; they decide how wide the column is."""
    timings: bool
    """Whether to say where the time of the cold start went."""
    _step: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _update: terminal.Update | None = None
    _parts: dict[str, float] = field(default_factory=dict)
    _ready: float = 0
    _writers: dict[Stream, LineWriter] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """The view."""
        self._writers = {Stream.STDOUT: LineWriter(sys.stdout.buffer), Stream.STDERR: LineWriter(sys.stderr.buffer)}
        return self

    def __exit__(self, *exc: object) -> None:
        """Clear away what is drawn, and end the last lines."""
        self._end_step()
        with contextlib.suppress(OSError):  # their reader has left
            for writer in self._writers.values():
                writer.close()

    def pulling(self, image: str, progress: PullProgress) -> None:
        """A bar for all pulls together."""
        self._begin("Pulling images")
        assert self._update is not None
        self._update(f"{image} {progress.phase.value}", progress.done, progress.total)

    def image_ready(self, image: str, found: Image, *, pulled: bool) -> None:
        """A line for what was pulled."""
        if pulled:
            terminal.note(f"pulled {image}")

    def sandbox_starting(self) -> None:
        """A counter while the machine boots."""
        self._end_step()
        self._begin("Starting the virtual machine")

    def sandbox_ready(self, status: SandboxStatus) -> None:
        """Kernel, boot time and address of the machine."""
        self._end_step()
        self._parts, self._ready = asdict(status.timings), time.monotonic()
        boot = sum(self._parts[part] for part in ("machine", "kernel", "agent"))
        pod = status.config.metadata
        addresses = ", ".join(status.ips) or "no address"
        terminal.note(f"pod {pod.namespace}/{pod.name}: Linux {status.kernel}, booted in {boot:.1f} s, {addresses}")

    def container_started(self, name: str, status: ContainerStatus) -> None:
        """The first one ends the cold start; the output of the others shows that they run."""
        if self.timings and self._parts:
            self._parts["first container"] = time.monotonic() - self._ready
            terminal.note(f"cold start {sum(self._parts.values()):.2f} s: " + ", ".join(self._lines()))
            self._parts.clear()

    def container_ended(self, name: str, status: ContainerStatus) -> None:
        """A line, where it did not simply succeed."""
        for writer in self._writers.values():
            writer.ended(name)
        if status.exit_code or status.reason not in ("Completed", ""):
            more = f": {status.message}" if status.message else ""
            terminal.note(f"container {name}: {status.reason}, exit code {status.exit_code}{more}")

    def container_restarting(self, name: str, delay: float) -> None:
        """A line."""
        terminal.note(f"container {name}: starts again in {delay:g} s")

    def stopping(self, reason: str) -> None:
        """A line."""
        self._end_step()
        terminal.note(f"stopping: {reason}")

    def warning(self, message: str) -> None:
        """A line."""
        terminal.warning(message)

    async def output(self, lines: Sequence[OutputLine]) -> None:
        """The lines, as soon as whoever reads ours takes them."""
        await self._writers[lines[0].stream].write(self._prefix(lines[0].container), lines)

    def _end_step(self) -> None:
        self._step.close()
        self._update = None

    def _begin(self, text: str) -> None:
        if self._update is None:
            self._update = self._step.enter_context(terminal.step(escape(text)))

    def _lines(self) -> Iterator[str]:
        return (f"{part} {seconds:.2f} s" for part, seconds in self._parts.items())

    def _prefix(self, name: str) -> bytes:
        padded = f"{name.ljust(max(map(len, self.names)))} |"
        if not terminal.OUT.is_terminal:
            return f"{padded} ".encode()
        colour = _COLOURS[self.names.index(name) % len(_COLOURS)]
        return f"\x1b[{colour}m{padded}\x1b[0m ".encode()
