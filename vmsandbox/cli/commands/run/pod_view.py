"""The output of `vmsandbox run`: progress, and lines of the containers, each after the container's name."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Self

from typing_extensions import override

from vmsandbox.cli import terminal
from vmsandbox.cli.control import Filter
from vmsandbox.images import PullProgress
from vmsandbox.model import ContainerStatus, Image, SandboxStatus
from vmsandbox.pod.run import OutputLine, PodObserver
from vmsandbox.protocol.messages import Stream

_COLOURS = (36, 35, 32, 33, 34, 96, 95, 92, 93, 94)
"""ANSI, one for each container in turn."""


class LineWriter:
    """Lines of several containers on one file, each with a prefix; a line that comes in parts is put together again.

    A line that is not complete yet is ended early where that of another stream comes. Where the file is a terminal,
    control characters are shown and not obeyed, and colours of a container end with its line.
    """

    def __init__(self, target: BinaryIO, output: terminal.Output | None = None) -> None:
        """Write to `target`, which stays the caller's and is `output`; None: the bytes as they are."""
        self._target = target
        self._output = output if output is not None and output.is_terminal else None
        self._filters: dict[tuple[str, Stream], Filter] = {}
        self._turn = asyncio.Lock()
        self._unfinished: tuple[str, Stream | None] | None = None
        """Container and stream of the line that the file ends in; without a stream, nothing continues it."""

    async def write(self, prefix: bytes, lines: Sequence[OutputLine]) -> None:
        """Write the lines, with the prefix before each, as soon as the file's reader takes them."""
        async with self._turn:
            await asyncio.to_thread(self._write, b"".join(self._pieces(prefix, lines)))

    def ended(self, container: str) -> None:
        """Begin a new line for what this container prints from now on: it has ended, and may be started again."""
        self._filters = {source: kept for source, kept in self._filters.items() if source[0] != container}
        if self._unfinished is not None and self._unfinished[0] == container:
            self._unfinished = (container, None)

    def close(self) -> None:
        """End the last line."""
        if self._unfinished is not None:
            self._write(b"\n")

    def _pieces(self, prefix: bytes, lines: Sequence[OutputLine]) -> Iterator[bytes]:
        for line in lines:
            here = (line.container, line.stream)
            if self._unfinished != here:
                yield (b"" if self._unfinished is None else b"\n") + prefix
            yield self._shown(line) + (b"\n" if line.complete else b"")
            self._unfinished = None if line.complete else here

    def _shown(self, line: OutputLine) -> bytes:
        if self._output is None:
            return line.text
        new = Filter(colours=self._output.draws, returns=False)
        shown = self._filters.setdefault((line.container, line.stream), new).feed(line.text, final=line.complete)
        return shown.encode(errors="replace")

    def _write(self, data: bytes) -> None:
        self._target.write(data)
        self._target.flush()


@dataclass(slots=True)
class PodView(PodObserver):
    """The view of a running pod for a person. Standard error of a container goes to ours, all else to stdout."""

    names: tuple[str, ...]
    """The names of the containers; they decide how wide the column is."""
    timings: bool
    """Whether to say where the time of the cold start went."""
    bare: bool = False
    """Whether to print the one container's output without a prefix, like podman, and no notes of what goes well."""
    on_started: Callable[[], None] = lambda: None
    """Is called when all containers have been started, or ended without it: then a pod can go to the background."""
    silent: Callable[[], bool] = lambda: False
    """Whether the containers' output is left out."""
    _step: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _update: terminal.Update | None = None
    _parts: dict[str, float] = field(default_factory=dict)
    _ready: float = 0
    _begun: set[str] = field(default_factory=set)
    _writers: dict[Stream, LineWriter] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """The view."""
        out, err = (None, None) if self.bare else (terminal.OUT, terminal.ERR)
        self._writers = {
            Stream.STDOUT: LineWriter(sys.stdout.buffer, out),
            Stream.STDERR: LineWriter(sys.stderr.buffer, err),
        }
        return self

    def __exit__(self, *exc: Any) -> None:
        """Clear away what is drawn, and end the last lines. A step that has failed is not called done."""
        self._step.__exit__(*exc)
        with contextlib.suppress(OSError):  # their reader has left
            for writer in self._writers.values() if not self.bare else ():
                writer.close()

    @override
    def pulling(self, image: str, progress: PullProgress) -> None:
        """A bar for all pulls together."""
        self._begin("Pulling images")
        assert self._update is not None
        self._update(f"{image} {progress.phase.value}", progress.done, progress.total)

    @override
    def image_ready(self, image: str, found: Image, *, pulled: bool) -> None:
        """A line for what was pulled."""
        if pulled:
            terminal.note(f"pulled {image}")

    @override
    def sandbox_starting(self) -> None:
        """A counter while the machine boots."""
        self._end_step()
        self._begin("Starting the virtual machine")

    @override
    def sandbox_ready(self, status: SandboxStatus) -> None:
        """Kernel, boot time and address of the machine."""
        self._end_step()
        self._parts, self._ready = asdict(status.timings), time.monotonic()
        boot = sum(self._parts[part] for part in ("machine", "kernel", "agent"))
        pod = status.config.metadata
        addresses = ", ".join(status.ips) or "no address"
        if not self.bare:
            terminal.note(f"pod {pod.namespace}/{pod.name}: Linux {status.kernel}, booted in {boot:.1f} s, {addresses}")

    @override
    def container_started(self, name: str, status: ContainerStatus) -> None:
        """The first one ends the cold start; the output of the others shows that they run."""
        self._note_begun(name)
        if self.timings and self._parts:
            self._parts["first container"] = time.monotonic() - self._ready
            terminal.note(f"cold start {sum(self._parts.values()):.2f} s: " + ", ".join(self._lines()))
            self._parts.clear()

    @override
    def container_ended(self, name: str, status: ContainerStatus) -> None:
        """A line, where it did not simply succeed."""
        self._note_begun(name)
        for writer in self._writers.values():
            writer.ended(name)
        expected = ("Completed", "Error", "") if self.bare and not status.message else ("Completed", "")
        if status.reason not in expected or (status.exit_code and not self.bare):
            more = f": {status.message}" if status.message else ""
            terminal.note(f"container {name}: {status.reason}, exit code {status.exit_code}{more}")

    @override
    def container_restarting(self, name: str, delay: float) -> None:
        """A line."""
        terminal.note(f"container {name}: starts again in {delay:g} s")

    @override
    def stopping(self, reason: str) -> None:
        """A line."""
        self._end_step()
        terminal.note(f"stopping: {reason}")

    @override
    def warning(self, message: str) -> None:
        """A line."""
        terminal.warning(message)

    @override
    async def output(self, lines: Sequence[OutputLine]) -> None:
        """The lines, as soon as whoever reads ours takes them."""
        if self.silent():
            return
        output = terminal.ERR if lines[0].stream is Stream.STDERR else terminal.OUT
        await self._writers[lines[0].stream].write(self._prefix(lines[0].container, output), lines)

    def _note_begun(self, name: str) -> None:
        self._begun.add(name)
        if self._begun.issuperset(self.names):
            self.on_started()

    def _end_step(self) -> None:
        self._step.close()
        self._update = None

    def _begin(self, text: str) -> None:
        if self._update is None:
            self._update = self._step.enter_context(terminal.step(text))

    def _lines(self) -> Iterator[str]:
        return (f"{part} {seconds:.2f} s" for part, seconds in self._parts.items())

    def _prefix(self, name: str, output: terminal.Output) -> bytes:
        if self.bare:
            return b""
        padded = f"{name.ljust(max(map(len, self.names)))} |"
        colour = _COLOURS[self.names.index(name) % len(_COLOURS)]
        return f"{output.styled(padded, str(colour))} ".encode()
