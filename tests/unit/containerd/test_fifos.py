"""Output FIFOs whose reader comes late, goes, or does not read."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.unit.containerd.conftest import read_to_end
from vmsandbox.containerd import fifos
from vmsandbox.containerd.fifos import Fifos, StreamPaths
from vmsandbox.oci_command import wire

Opened = Callable[[Path, int], AbstractContextManager[int]]

MUCH = b"x" * (256 << 10)
"""More than a FIFO takes."""


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    os.mkfifo(tmp_path / "out")
    before = len(os.listdir("/proc/self/fd"))
    yield tmp_path / "out"
    assert len(os.listdir("/proc/self/fd")) == before


async def writing(streams: Fifos, *, full: bool = True) -> "asyncio.Task[None]":
    """Begin to write much; `full`: the FIFO takes no more when this returns."""
    task = asyncio.create_task(streams.write(wire.STDOUT, MUCH))
    await asyncio.sleep(0.05)
    assert task.done() != full
    return task


async def test_output_waits_for_the_next_reader_of_a_process_that_lasts(path: Path, opened: Opened) -> None:
    streams = Fifos(StreamPaths(stdout=str(path)))
    with opened(path, os.O_RDONLY) as first:
        task = await writing(streams)
        found = os.read(first, 4096)
    await asyncio.sleep(0.05)
    with opened(path, os.O_RDONLY) as second:
        reading = asyncio.create_task(read_to_end(second))
        await asyncio.wait_for(task, 10)
        streams.close()
        assert found + await reading == MUCH


async def test_output_is_dropped_when_the_reader_of_a_command_has_gone(path: Path, opened: Opened) -> None:
    streams = Fifos(StreamPaths(stdout=str(path)), lasting=False)
    with opened(path, os.O_RDONLY):
        task = await writing(streams)
    await asyncio.wait_for(task, 10)
    await asyncio.wait_for(streams.write(wire.STDOUT, MUCH), 10)
    streams.close()


async def test_output_is_dropped_where_the_reader_of_a_command_went_before(path: Path) -> None:
    streams = Fifos(StreamPaths(stdout=str(path)), lasting=False)
    await writing(streams, full=False)
    streams.close()


@pytest.mark.parametrize("waits", [True, False])
async def test_output_of_a_killed_process_waits_for_a_moment(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr(fifos, "_GRACE", 0.1)
    streams = Fifos(StreamPaths(stdout=str(path)))
    with opened(path, os.O_RDONLY):
        if waits:
            task = await writing(streams)
            streams.hurry()
        else:
            streams.hurry()
            task = await writing(streams)
        await asyncio.wait_for(task, 10)
    streams.close()
