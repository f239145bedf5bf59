"""The usage of a container, over the protocol. The host has cgroup v1, so files stand for a cgroup."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.guest.client import CONTAINER, Client
from tests.support.waiting import until
from tests.unit.agent.test_cgroup import FILES
from vmsandbox.protocol.messages import (
    DeleteContainer,
    ListContainers,
    MeasureContainers,
    Measured,
    Measures,
    StartContainer,
    Stream,
)
from vmsandbox_agent.measures import layers
from vmsandbox_agent.measures.layers import Counter
from vmsandbox_agent.reaper import Reaper


async def run(client: Client, script: str) -> None:
    """Run the script up to its word `ready` in a container that has the cgroup of these tests."""
    await client.create(f"{script}; echo ready; exec sleep 1000")
    await client.call(StartContainer(CONTAINER))
    await (await client.stream(Stream.STDOUT)).read_until(b"ready")
    (state,) = (await client.call(ListContainers())).containers
    cgroup = client.directory / "no-cgroups" / "containers" / CONTAINER
    cgroup.mkdir(parents=True)
    for name, content in {**FILES, "cgroup.procs": f"{state.pid}\n"}.items():
        (cgroup / name).write_text(content)


async def measured(client: Client) -> Measures:
    found: Measured = await client.call(MeasureContainers())
    (measures,) = found.containers
    return measures


async def test_what_a_container_has_written_is_counted_in_bytes_and_inodes(client: Client) -> None:
    script = (
        "mkdir /new; for i in 1 2 3; do dd if=/dev/zero of=/new/$i bs=4096 count=2 2>/dev/null; done; ln /new/1 /new/4"
    )
    await run(client, script)
    layer = (await measured(client)).layer
    assert layer is not None
    assert layer.used >= 3 * 8192
    top_and_new_and_files = 1 + 1 + 3
    assert layer.inodes >= top_and_new_and_files
    assert layer.at > 0


async def test_the_file_system_of_the_layers_and_what_is_open_are_told(client: Client) -> None:
    await run(client, "exec 5</etc/passwd 6</etc/group")
    found = await measured(client)
    assert found.file_system is not None and found.file_system.size >= found.file_system.free > 0
    assert found.processes is not None and found.processes.descriptors >= 5
    assert found.processes.files_max is not None


async def test_a_container_without_a_cgroup_is_not_measured(client: Client) -> None:
    await client.create("exec sleep 1000")
    assert (await client.call(MeasureContainers())).containers == ()
    await client.call(DeleteContainer(CONTAINER))


async def test_a_count_has_the_lowest_priority_and_when_it_is_given_up_none_of_its_processes_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_COUNT", 'busybox sleep 1000 | (echo $$ > "$0/new" && mv "$0/new" "$0/pid" && cat)')
    reaper = Reaper()
    reaper.attach()
    counting = asyncio.create_task(Counter(reaper).count(tmp_path))
    await until((tmp_path / "pid").exists)
    group = int((tmp_path / "pid").read_text())
    assert os.getpriority(os.PRIO_PGRP, group) == 19
    counting.cancel()
    await asyncio.wait([counting])
    await until(lambda: not _in_group(group))


async def test_a_count_that_takes_too_long_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_LIMIT", 0.01)
    monkeypatch.setattr(layers, "_COUNT", "busybox sleep 1000")
    reaper = Reaper()
    reaper.attach()
    assert await Counter(reaper).count(tmp_path) is None


@pytest.mark.parametrize(("end", "size"), [("exit 0", 8192), ("exit 1", 8192), ("kill -9 $$", None)])
async def test_a_count_is_that_of_a_du_that_came_to_its_end(
    end: str, size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test du, which ends with 1 if a file was removed meanwhile, and may be killed if memory is short."""
    du = rf"""[ "$1" != du ] || {{ printf '4\t%s/file\n8\t%s\n' "$3" "$3"; {end}; }}"""
    (tmp_path / "busybox").write_text(f'#!/bin/sh\n{du}\nexec {shutil.which("busybox")} "$@"\n')
    (tmp_path / "busybox").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    reaper = Reaper()
    reaper.attach()
    found = await Counter(reaper).count(tmp_path)
    assert (found and found.used) == size


async def test_a_directory_that_has_gone_is_unknown(tmp_path: Path) -> None:
    reaper = Reaper()
    reaper.attach()
    assert await Counter(reaper).count(tmp_path / "gone") is None


def _in_group(group: int) -> list[Path]:
    return [status for status in Path("/proc").glob("[0-9]*/stat") if _group(status) == group]


def _group(status: Path) -> int:
    try:
        state, _, group = status.read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return 0
    return 0 if state == "Z" else int(group)
