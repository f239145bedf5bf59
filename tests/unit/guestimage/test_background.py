"""A small kernel that is compiled in the background, with a stand-in for the compilation."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from vmsandbox.errors import FailedPrecondition
from vmsandbox.guestimage.background import compiling, hurry, kernel_of, start
from vmsandbox.guestimage.inputs import DEBIAN, SMALL
from vmsandbox.guestimage.manifest import BuiltImage, GuestImageManifest
from vmsandbox.guestimage.store import BUILDING, locked
from vmsandbox.process import ProcessIdentity

COMPILATION = """
mkdir -p "$1/kernel/.building-tree"
exec flock --no-fork "$1/kernel/lock" sh -c 'echo Compiling; exec sleep 600'
"""
STARTER = """
import asyncio, sys
from pathlib import Path
from vmsandbox.guestimage.background import start
print(asyncio.run(start(sys.argv[3:], Path(sys.argv[1]), Path(sys.argv[2]))).pid)
"""


@dataclass
class Compilation:
    """A compilation that was started by a process which has ended since, and seen to be of SCHED_IDLE."""

    pid: int
    output: Path
    log: Path


@pytest.fixture
def compilation(tmp_path: Path) -> Iterator[Compilation]:
    log = tmp_path / "log/small-kernel.log"
    command = [sys.executable, "-c", STARTER, tmp_path, log, "sh", "-c", COMPILATION, "-", tmp_path]
    pid = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    eventually(lambda: os.sched_getscheduler(pid) == os.SCHED_IDLE)
    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))  # it would wait for the tests that run beside it
    eventually(lambda: log.read_text() == "Compiling\n")
    yield Compilation(pid, tmp_path, log)
    identity = ProcessIdentity.of(pid)
    if identity:
        os.kill(pid, signal.SIGKILL)


def test_it_outlives_its_starter_in_a_session_of_its_own_below_all_else(compilation: Compilation) -> None:
    assert compiling(compilation.output) == compilation.pid
    assert os.getsid(compilation.pid) == compilation.pid
    assert os.getpriority(os.PRIO_PROCESS, compilation.pid) == 19
    shown = subprocess.run(["ionice", "--pid", str(compilation.pid)], check=True, capture_output=True, text=True)
    assert shown.stdout == "idle\n"


async def test_a_second_one_is_not_started(compilation: Compilation) -> None:
    with pytest.raises(FailedPrecondition, match=f"the process {compilation.pid} compiles"):
        await start(["true"], compilation.output, compilation.log)
    assert compilation.log.read_text() == "Compiling\n"


def test_when_it_was_killed_the_next_one_removes_its_tree(compilation: Compilation) -> None:
    os.kill(compilation.pid, signal.SIGKILL)
    eventually(lambda: compiling(compilation.output) is None)
    with locked(compilation.output / "kernel"):
        assert not list((compilation.output / "kernel").glob(f"{BUILDING}*"))


HURRY = """
import asyncio, os, subprocess
from vmsandbox.guestimage.background import hurry
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.nice(19)
asyncio.run(hurry())
print(os.sched_getscheduler(0) == os.SCHED_OTHER, os.nice(0), flush=True)
subprocess.run(["ionice"])
"""


def test_what_follows_the_compilation_has_the_usual_priority() -> None:
    done = subprocess.run([sys.executable, "-c", HURRY], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "True 0"
    assert done.stdout.splitlines()[1].startswith("best-effort")


async def test_a_process_that_was_not_started_so_keeps_its_priority() -> None:
    before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    await hurry()
    assert (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == before


def test_nothing_is_compiled_where_nothing_was(tmp_path: Path) -> None:
    assert compiling(tmp_path) is None


@pytest.mark.parametrize(
    ("package", "kernel"), [("linux-image-6.12.1-cloud-amd64", DEBIAN), ("linux-source-6.12", SMALL)]
)
def test_an_images_packages_say_which_kernel_it_has(tmp_path: Path, package: str, kernel: str) -> None:
    manifest = GuestImageManifest("k", "trixie", "6.12.1", "b", "", {"crun": "1.21", package: "6.12.1-1"}, {})
    assert kernel_of(BuiltImage(tmp_path, manifest)) == kernel
