"""Reaping with real processes: orphans that are called like libvirt's daemons, and children that have an owner."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.waiting import until
from vmsandbox.errors import Internal
from vmsandbox.hypervisor.libvirt.reaper import reap, reaping


def program(directory: Path, name: str) -> Path:
    """A program of that name, which sleeps."""
    shutil.copy("/bin/sleep", directory / name)
    return directory / name


def orphan(argv: list[str]) -> int:
    """Start a daemon as libvirt does: in a session of its own, its parent gone; returns its pid."""
    script = '"$@" >/dev/null 2>&1 & echo $!'
    command = ["setsid", "-w", "sh", "-c", script, "sh", *argv]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def vanishes(pid: int) -> None:
    await until(lambda: not there(pid), 5)


def dead(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
    return False


async def zombie(pid: int) -> None:
    await until(lambda: dead(pid), 5)


@pytest.mark.parametrize("name", ["qemu-system-x86_64", "virtiofsd", "qemu-system-\udcff"])
async def test_a_dead_daemon_of_libvirts_vanishes(tmp_path: Path, name: str) -> None:
    with reaping():
        await vanishes(orphan([str(program(tmp_path, name)), "0.1"]))


async def test_a_daemon_that_another_thread_has_started_vanishes(tmp_path: Path) -> None:
    with reaping():
        await vanishes(await asyncio.to_thread(orphan, [str(program(tmp_path, "virtiofsd")), "0.1"]))


async def test_a_daemon_that_lives_is_left_alone(tmp_path: Path) -> None:
    with reaping():
        pid = orphan([str(program(tmp_path, "qemu-system-x86_64")), "100"])
        reap()
        assert there(pid)
        os.kill(pid, 9)
        await vanishes(pid)


@pytest.mark.parametrize("leads_a_session", [False, True])
async def test_a_child_whose_owner_waits_for_it_is_left_to_him(tmp_path: Path, leads_a_session: bool) -> None:
    """QEMUs that libvirt asks for their capabilities, a virtiofsd that we ask for its version, and other programs."""
    with reaping():
        process = subprocess.Popen([program(tmp_path, "virtiofsd"), "0"], start_new_session=leads_a_session)
        await zombie(process.pid)
        reap()
        assert process.wait() == 0

        other = await asyncio.create_subprocess_exec("sh", "-c", "exit 7", start_new_session=True)
        assert await other.wait() == 7


async def test_what_died_between_two_contexts_is_reaped_by_the_next(tmp_path: Path) -> None:
    with reaping():
        pid = orphan([str(program(tmp_path, "qemu-system-x86_64")), "0.3"])
    await zombie(pid)
    with reaping():
        assert not there(pid)


async def test_other_threads_cannot_hear_of_children() -> None:
    async def enter() -> None:
        with reaping():
            pass

    with pytest.raises(Internal, match="main thread"):
        await asyncio.to_thread(lambda: asyncio.run(enter()))
