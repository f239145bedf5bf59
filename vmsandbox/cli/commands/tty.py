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

from vmsandbox import aio
from vmsandbox.model import Output
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
    async with contextlib.AsyncExitStack() as stack:
        if terminal:
            stack.enter_context(_raw())
            await stack.enter_async_context(_telling_size(command.resize))
        if stdin:
            await stack.enter_async_context(aio.background(_send_input(command)))
        async for output in command.output():
            await asyncio.to_thread(_print, output)
    return command.exit_code


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Keys go to the container as they are pressed, Ctrl-C too; nothing if our input is not a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.asynccontextmanager
async def _telling_size(resize: Callable[[int, int], Awaitable[None]]) -> AsyncIterator[None]:
    """Tell the window's size now and whenever it changes."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    async def tell() -> None:
        while True:
            size = shutil.get_terminal_size()
            await resize(size.columns, size.lines)
            await changed.wait()
            changed.clear()

    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        async with aio.background(tell()):
            yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def _send_input(command: CommandClient) -> None:
    """Our input to its end. Read as it comes, without a thread that would hold up the end of the process."""
    fd = sys.stdin.fileno()
    while True:
        await _readable(fd)
        data = os.read(fd, _CHUNK)
        if not data:
            break
        await command.write(data)
    await command.close_stdin()


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
