"""The person's terminal while it is a container's: raw, its size told, and always given back as it was."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from vmsandbox import aio
from vmsandbox.cli.commands.detach_keys import DetachKeys
from vmsandbox.model import Output
from vmsandbox.pod.run import ContainerStreams
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming.client import CommandClient

_CHUNK = 16 * 1024


async def converse(command: CommandClient, *, stdin: bool, terminal: bool) -> int:
    """Pass our streams to a command and its output to ours until it ends; return its exit code.

    Args:
        command: that runs.
        stdin: whether our input is its.
        terminal: whether it has a terminal, which ours then becomes.
    """
    await talk(command, stdin=stdin, terminal=terminal)
    return command.exit_code


async def talk(
    streams: ContainerStreams,
    *,
    stdin: bool,
    terminal: bool,
    keys: DetachKeys | None = None,
    show: bool = True,
    left: Callable[[], None] | None = None,
) -> None:
    """Pass our streams to a process and its output to ours, until its output ends, or the keys are typed.

    Args:
        streams: of the process, which runs.
        stdin: whether our input is its.
        terminal: whether it has a terminal, which ours then becomes, until this ends or the keys are typed.
        keys: let go of the process.
        show: print its output; else all of it is thrown away.
        left: is called when the keys were typed; the process's output is thrown away then, to its end.
    """
    printing = _Printing(show)
    async with aio.background(printing.follow(streams)) as showing:
        async with contextlib.AsyncExitStack() as stack:
            works: set[asyncio.Task[None]] = {showing}
            if terminal and stdin:
                stack.enter_context(_raw())
            if terminal:
                await stack.enter_async_context(_telling_size(streams.resize))
            if stdin:
                sending = _send_input(streams, keys or DetachKeys(b""))
                works.add(await stack.enter_async_context(aio.background(sending)))
            while not showing.done() and not (keys and keys.found):
                _, works = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        if not showing.done():
            if left is None:
                return
            printing.on = False
            left()
        await showing


@dataclass(slots=True)
class _Printing:
    """Takes what a process prints, and prints it while it is on."""

    on: bool

    async def follow(self, streams: ContainerStreams) -> None:
        async for output in streams.output():
            if self.on:
                await asyncio.to_thread(_print, output)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Keys go to the container as they are pressed, Ctrl-C too, and those that were while the machine booted.

    Nothing if our input is not a terminal.
    """
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.asynccontextmanager
async def _telling_size(resize: Callable[[int, int], Awaitable[None]]) -> AsyncIterator[None]:
    """Tell the window's size now and whenever it changes."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    async def tell() -> None:
        while True:
            await resize(*_size())
            await changed.wait()
            changed.clear()

    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        async with aio.background(tell()):
            yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


def _size() -> tuple[int, int]:
    """Columns and rows of our terminal, else those of COLUMNS and LINES, which do not follow a terminal's."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            size = os.get_terminal_size(stream.fileno())
            if size.columns and size.lines:
                return size.columns, size.lines
    usual = shutil.get_terminal_size()
    return usual.columns, usual.lines


async def _send_input(streams: ContainerStreams, keys: DetachKeys) -> None:
    """Our input to its end, or to the keys. Read as it comes, without a thread that would hold up our own end."""
    fd = sys.stdin.fileno()
    while not keys.found:
        await _readable(fd)
        data = os.read(fd, _CHUNK)
        if not data:
            await streams.close_stdin()
            return
        if typed := keys.feed(data):
            await streams.write(typed)


async def _readable(fd: int) -> None:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(fd, readable.set)
    except PermissionError:  # a file, which always is (epoll_ctl(2), EPERM)
        return
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)


def _print(output: Output) -> None:
    stream = sys.stderr.buffer if output.stream is Stream.STDERR else sys.stdout.buffer
    stream.write(output.data)
    stream.flush()
