"""QEMUs as the kernel tells of them; the processes here stand in for them by their names."""

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.errors import NotFound
from vmsandbox.hypervisor.libvirt.qemu_processes import QemuProcesses, machine_of
from vmsandbox.process import sizes_in, stat_of

MIB = 1024 * 1024
USES = """
import sys, time
kept = b"x" * ({mib} << 20)
print("ready", flush=True)
open("/proc/self/comm", "wb").write(sys.stdin.buffer.read())
print("renamed", flush=True)
time.sleep(600)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process that the kernel calls `program`, with the command line of a machine's QEMU; all are ended.

    What is written to its input until that is closed, it calls itself from then on.
    """
    started: list[subprocess.Popen[str]] = []

    def begin(name: str, mib: int = 0, program: str = "qemu-system-x86_64") -> "subprocess.Popen[str]":
        if not (tmp_path / program).exists():
            shutil.copy(os.path.realpath("/proc/self/exe"), tmp_path / program)
        line = [tmp_path / program, "-c", USES.format(mib=mib), "-name", f"guest={name},debug-threads=on"]
        started.append(subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout is not None and started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield begin
    for process in started:
        with process:  # closes its output, and waits
            process.kill()


@pytest.fixture
def name() -> str:
    return f"vmsandbox-{uuid.uuid4().hex}"


def test_a_machine_is_measured_by_the_process_that_has_its_name(start: Start, name: str) -> None:
    start(name, mib=64)
    start(f"{name}-other")
    before = time.time_ns()
    large, small = (QemuProcesses().usage(each) for each in (name, f"{name}-other"))
    assert before <= large.at <= time.time_ns()
    assert 64 * MIB < large.working_set < large.memory < 128 * MIB
    assert small.working_set < 64 * MIB
    assert large.cpu > 0 and large.cpu % 10_000_000 == 0
    assert large.page_faults > 64 * MIB // 4096 > small.page_faults > small.major_page_faults >= 0


def test_a_machine_that_is_started_again_is_found_again(start: Start, name: str) -> None:
    processes = QemuProcesses()
    first = start(name, mib=64)
    assert processes.usage(name).working_set > 64 * MIB
    first.kill()
    first.wait()
    with pytest.raises(NotFound, match=name):
        processes.usage(name)
    start(name)
    assert processes.usage(name).working_set < 64 * MIB


def test_a_process_that_is_not_qemu_is_not_a_machine(start: Start, name: str) -> None:
    start(name, program="something-else")
    with pytest.raises(NotFound, match=f"no QEMU of machine {name}") as caught:
        QemuProcesses().usage(name)
    assert "PID namespace" in caught.value.hint


def test_a_name_that_two_processes_claim_is_nobodys_but_of_the_one_that_had_it(start: Start, name: str) -> None:
    processes = QemuProcesses()
    start(name, mib=64)
    processes.usage(name)
    start(name)
    with pytest.raises(NotFound):
        processes.usage(f"{name}-absent")  # for which it looks again
    assert processes.usage(name).working_set > 64 * MIB
    with pytest.raises(NotFound):
        QemuProcesses().usage(name)


def test_the_name_is_read_from_the_command_line_that_libvirt_makes() -> None:
    line = b"/usr/bin/qemu-system-x86_64\0-name\0guest=vmsandbox-1,debug-threads=on\0-S\0"
    assert machine_of(line) == "vmsandbox-1"


@pytest.mark.parametrize("line", [b"", b"qemu\0-name", b"qemu\0-name\0other,x=1\0", b"qemu\0guest=vmsandbox-1,\0"])
def test_a_command_line_without_a_machine_names_none(line: bytes) -> None:
    assert machine_of(line) == ""


@given(st.binary())
def test_any_command_line_can_be_read(line: bytes) -> None:
    machine_of(b"qemu\0-name\0" + line)


def test_sizes_are_told_in_bytes() -> None:
    status = b"Name:\tqemu-system-x86\nVmRSS:\t  293720 kB\nRssShmem:\t       0 kB\nThreads:\t6\nGroups:\t \n"
    assert sizes_in(status) == {"VmRSS": 293720 * 1024, "RssShmem": 0}


@pytest.mark.parametrize("program", ["qemu-) S 1 (x", "qemu-system-\udcff"])
def test_a_process_may_be_called_anything(program: str, start: Start, name: str) -> None:
    process = start(name, program=program)
    assert stat_of(process.pid)[1] == str(os.getpid())


@pytest.mark.parametrize("called", [b"\xff", b"x kB", b"VmRSS: 1 kB", b"a\nVmRSS: 1 kB"])
def test_a_qemu_may_call_itself_what_it_likes(called: bytes, start: Start, name: str) -> None:
    """Any name is possible: the guest may have taken QEMU over."""
    process = start(name)
    processes = QemuProcesses()
    assert processes.usage(name).memory > MIB
    assert process.stdin is not None and process.stdout is not None
    process.stdin.buffer.write(called)
    process.stdin.close()
    assert process.stdout.readline() == "renamed\n"
    assert processes.usage(name).memory > MIB
