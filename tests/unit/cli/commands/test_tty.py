"""The person's terminal, while it is a container's."""

import asyncio
import os
import pty
import select
import sys
from collections.abc import AsyncIterator

import pytest
from typing_extensions import override

from vmsandbox.cli.commands.tty import talk
from vmsandbox.model import Output
from vmsandbox.pod.run import ContainerStreams


class Reading(ContainerStreams):
    """A process that reads a line, prints nothing, and ends."""

    def __init__(self) -> None:
        self.read = b""
        self._ended = asyncio.Event()

    @override
    async def output(self) -> AsyncIterator[Output]:
        await self._ended.wait()
        for output in ():
            yield output

    @override
    async def write(self, data: bytes) -> None:
        self.read += data
        if b"\n" in self.read:
            self._ended.set()

    @override
    async def close_stdin(self) -> None:
        raise AssertionError("the terminal is still there")

    @override
    async def resize(self, columns: int, rows: int) -> None:
        pass


async def test_keys_that_were_pressed_while_the_machine_booted_reach_the_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keyboard, terminal = pty.openpty()
    with open(keyboard, "wb", buffering=0), open(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(keyboard, b"echo typed\n")
        assert select.select([terminal], [], [], 10)[0]  # it has come to the terminal
        process = Reading()
        await asyncio.wait_for(talk(process, stdin=True, terminal=True), 10)
    assert process.read == b"echo typed\n"
