"""Ends of processes: whoever waits for one learns of it, whatever goes wrong."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.containerd_client import Bundle
from tests.unit.containerd.conftest import World
from tests.unit.containerd.test_services import process
from vmsandbox.containerd import fifos
from vmsandbox.containerd.fifos import StreamPaths
from vmsandbox.containerd.process import LOST, Process
from vmsandbox.containerd.task import Running
from vmsandbox.oci_command.store import Entry

Opened = Callable[[Path, int], AbstractContextManager[int]]
MUCH = "head -c 2000000 /dev/zero; exit 7"
"""More output than all buffers take."""


async def begin_exec(world: World, script: str, *, start: bool = True) -> Path:
    """Begin a command in the container c1; return the FIFO of its output."""
    bundle = Bundle(world.directory / "e", {}, "s1")
    spec = process("sh", "-c", script)
    await world.client.task("Exec", id="c1", exec_id="e", spec=spec, **bundle.streams("stdout"))
    if start:
        await world.client.task("Start", id="c1", exec_id="e")
    return bundle.fifos["stdout"]


async def waiting(world: World, **fields: str) -> "asyncio.Task[Any]":
    """Wait for an end, in the background."""
    task = asyncio.create_task(world.client.task("Wait", **fields))
    await asyncio.sleep(0.05)
    assert not task.done()
    return task


async def ended(task: "asyncio.Task[Any]") -> int:
    return int((await asyncio.wait_for(task, 20)).exit_status)


@pytest.fixture
async def running(world: World) -> World:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    await world.client.task("Start", id="c1")
    return world


async def test_a_command_ends_whose_reader_has_gone(running: World, opened: Opened) -> None:
    stdout = await begin_exec(running, MUCH, start=False)
    with opened(stdout, os.O_RDONLY):
        await running.client.task("Start", id="c1", exec_id="e")
        task = await waiting(running, id="c1", exec_id="e")
    assert await ended(task) == 7


async def test_a_killed_command_ends_whose_reader_does_not_read(
    running: World, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fifos, "_GRACE", 0.1)
    stdout = await begin_exec(running, "exec cat /dev/zero", start=False)
    with opened(stdout, os.O_RDONLY):
        await running.client.task("Start", id="c1", exec_id="e")
        task = await waiting(running, id="c1", exec_id="e")
        await running.client.task("Kill", id="c1", exec_id="e", signal=9)
        assert await ended(task) == 137


async def test_a_killed_container_ends_whose_output_nobody_reads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fifos, "_GRACE", 0.1)
    await world.pod()
    await world.task("c1", "cat", "/dev/zero")
    await world.client.task("Start", id="c1")
    task = await waiting(world, id="c1")
    await world.client.task("Kill", id="c1", signal=9)
    assert await ended(task) == 137


async def test_a_killed_command_has_the_status_that_is_behind_output_that_nobody_reads(
    running: World, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fifos, "_GRACE", 0.1)
    stdout = await begin_exec(running, "head -c 100000 /dev/zero; exit 7", start=False)
    with opened(stdout, os.O_RDONLY):
        await running.client.task("Start", id="c1", exec_id="e")
        task = await waiting(running, id="c1", exec_id="e")
        await asyncio.sleep(0.2)
        await running.client.task("Kill", id="c1", exec_id="e", signal=9)
        assert await ended(task) == 7


@pytest.mark.parametrize("exec_id", ["", "e"])
async def test_what_was_not_started_and_is_deleted_ends_a_wait(world: World, exec_id: str) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    await begin_exec(world, "true", start=False)
    task = await waiting(world, id="c1", exec_id=exec_id)
    await world.client.task("Delete", id="c1", exec_id=exec_id)
    await ended(task)


async def test_a_container_whose_end_cannot_be_kept_has_ended(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    task = await waiting(running, id="c1")
    monkeypatch.setattr(Entry, "save", full)
    await running.client.task("Kill", id="c1", signal=9)
    assert await ended(task) == 137
    await running.containerd.topics("create", "start", "exit")


async def test_a_process_whose_streams_fail_is_lost() -> None:
    class Failing(Process):
        async def run(self) -> Any:
            raise RuntimeError("a defect")

    made: list[int] = []
    process = Running(Failing(None, {}, StreamPaths(), lasting=False), StreamPaths())  # type: ignore[arg-type]
    process.carry(lambda exit_: made.append(exit_.status))
    await asyncio.wait_for(process.ended.wait(), 10)
    assert made == [LOST]


async def test_a_command_whose_task_is_deleted_is_lost(running: World) -> None:
    await begin_exec(running, "exec sleep 1000")
    task = await waiting(running, id="c1", exec_id="e")
    await running.client.task("Kill", id="c1", signal=9)
    await running.client.task("Wait", id="c1")
    await running.client.task("Delete", id="c1")
    assert await ended(task) == LOST
