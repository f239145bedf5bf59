"""The cgroups of machines in the kernel's own hierarchies, without a machine."""

import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.cgroups_contract import ID, SPEC, USERS, CgroupsContract, pod
from tests.support.users import process_of
from vmsandbox.sandbox.machines.cgroups import MachineCgroups
from vmsandbox.sandbox.machines.cgroups.machine_cgroups import ROOT

NAME = f"test-{uuid.uuid4().hex[:8]}"


class TestKernelCgroups(CgroupsContract):
    @pytest.fixture
    def root(self) -> Path:
        return ROOT

    @pytest.fixture
    def top(self, hierarchies: list[Path]) -> Iterator[str]:
        yield NAME
        for hierarchy in ROOT.iterdir() if hierarchies != [ROOT] else hierarchies:
            with contextlib.suppress(OSError):
                (hierarchy / NAME).rmdir()

    @pytest.mark.parametrize(
        ("full", "reason"),
        [
            (f"vmsandbox-{ID}", "beyond the machine's memory limit"),
            ("", "beyond the memory limit of its pod's cgroup /{parent}"),
            ("..", "beyond the memory limit of its pod's cgroup /{above}"),
        ],
    )
    async def test_a_machine_that_takes_more_than_a_limit_is_killed_and_the_limit_is_told(
        self, cgroups: MachineCgroups, hierarchies: list[Path], parent: str, full: str, reason: str
    ) -> None:
        above = parent.rpartition("/")[0]
        takes_all = "kill -STOP $$; exec tail /dev/zero"
        with process_of(USERS.qemu.uid, ("sh", "-c", takes_all)) as process:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            await cgroups.confine(ID, SPEC, USERS, pod(parent))
            assert cgroups.killed(ID) == ""
            name = "memory.max" if hierarchies == [ROOT] else "memory.limit_in_bytes"
            (hierarchies[0] / parent / full / name).write_text(str(16 << 20))
            process.send_signal(signal.SIGCONT)
            assert process.wait(60) == -signal.SIGKILL
        assert cgroups.killed(ID) == reason.format(parent=parent, above=above)
        await cgroups.remove(ID)
