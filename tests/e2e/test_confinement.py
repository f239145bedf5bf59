"""Confined programs, started by root: what the kernel says that they have."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from vmsandbox import process
from vmsandbox.process import Account, Confinement, Limits

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can confine")

NOBODY = Account(65534, 65534)


async def printed(command: list[str], confinement: Confinement) -> str:
    return (await process.run(command, confinement=confinement)).stdout.decode()


async def status(confinement: Confinement) -> dict[str, str]:
    """The program's /proc/self/status, as it sees itself."""
    lines = (await printed(["cat", "/proc/self/status"], confinement)).splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


async def test_a_confined_program_has_no_capabilities_and_cannot_gain_any() -> None:
    seen = await status(Confinement(NOBODY))
    assert {key: int(seen[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0
    )
    assert seen["NoNewPrivs"] == "1"


async def test_a_confined_program_has_its_own_user_and_no_other_groups() -> None:
    seen = await status(Confinement(NOBODY))
    assert seen["Uid"].split() == seen["Gid"].split() == ["65534"] * 4
    assert seen["Groups"] == ""


async def test_a_confined_program_sees_no_interface_but_an_idle_loopback() -> None:
    lines = (await printed(["cat", "/proc/net/dev"], Confinement(NOBODY))).splitlines()[2:]
    assert [line.partition(":")[0].strip() for line in lines] == ["lo"]


@pytest.mark.parametrize("namespaces", [("net",), ("net", "pid")])
async def test_a_confined_program_and_no_other_is_killed_first(
    namespaces: tuple[str, ...],
) -> None:
    first = Path("/proc/1/oom_score_adj").read_text()
    confinement = Confinement(NOBODY, namespaces=namespaces, oom_score=456)
    assert await printed(["cat", "/proc/self/oom_score_adj"], confinement) == "456\n"
    assert Path("/proc/1/oom_score_adj").read_text() == first


@pytest.mark.parametrize("namespaces", [("net",), ("net", "pid")])
async def test_a_confined_program_has_its_limits(namespaces: tuple[str, ...]) -> None:
    limits = Limits(memory=64 << 20, file_size=1000, open_files=30, processes=50)
    lines = await printed(["cat", "/proc/self/limits"], Confinement(NOBODY, namespaces=namespaces, limits=limits))
    found = {line[:26].strip(): line[26:].split()[:2] for line in lines.splitlines()}
    assert found["Max data size"] == [str(64 << 20)] * 2
    assert found["Max file size"] == ["1000"] * 2
    assert found["Max open files"] == ["30"] * 2
    assert found["Max processes"] == ["50"] * 2
    assert found["Max core file size"] == ["0"] * 2


async def test_a_confined_program_cannot_take_more_memory_than_its_limit() -> None:
    confinement = Confinement(NOBODY, limits=Limits(memory=128 << 20))
    done = await process.run(["/usr/bin/python3", "-c", "bytearray(1 << 30)"], confinement=confinement, check=False)
    assert b"MemoryError" in done.stderr


@pytest.mark.parametrize("namespaces", [("net",), ("net", "pid")])
async def test_a_program_that_is_to_end_with_its_parent_does(namespaces: tuple[str, ...], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    confinement = Confinement(NOBODY, namespaces=namespaces, dies_with_parent=True)
    script = f"import subprocess, sys; subprocess.run({confinement.wrap(['sh', '-c', 'echo; exec sleep 1000'])!r})"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=writing, pass_fds=[writing])
    os.close(writing)
    await asyncio.to_thread(os.read, reading, 1)  # it runs
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    assert await asyncio.to_thread(os.read, reading, 1) == b""  # nobody has the pipe any more
    os.close(reading)


async def test_what_a_program_leaves_running_ends_with_its_pid_namespace() -> None:
    confinement = Confinement(NOBODY, namespaces=("net", "pid"))
    done = await process.run(["sh", "-c", "setsid sleep 1000 & echo left"], confinement=confinement)
    assert done.stdout == b"left\n"  # and the pipes are closed: process.run waits for that
