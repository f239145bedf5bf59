import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.users import process_of
from vmsandbox.claims import UserRange
from vmsandbox.errors import ResourceExhausted, Unavailable
from vmsandbox.process import Account, ProcessIdentity, stat_of
from vmsandbox.process import users as processes

FIRST = 1_800_005_000

WITHOUT_ITS_FIRST_THREAD = """
import ctypes, platform, sys, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)  # exit(2): this thread alone
"""
HEADLESS = "whose first thread has ended"
HIDING = {
    "one": ["sleep", "1000"],
    "in a session of its own": ["setsid", "sleep", "1000"],
    HEADLESS: [sys.executable, "-c", WITHOUT_ITS_FIRST_THREAD],
    "that starts others": ["sh", "-c", "while true; do sleep 0.01; done"],
}


async def test_each_sandbox_has_two_users_and_no_others_have_them(tmp_path: Path) -> None:
    users = UserRange(tmp_path, range(FIRST, FIRST + 5), 108)
    one, two = await users.allocate("one"), await users.allocate("two")
    assert await users.allocate("one") == one
    numbers = [account.uid for each in (one, two) for account in (each.qemu, each.vsock)]
    assert sorted(numbers) == list(range(FIRST, FIRST + 4)), "an odd number at the end is nobody's"
    assert one.qemu.gid == two.qemu.gid == 108
    assert one.vsock == Account(one.qemu.uid + 1, one.qemu.uid + 1)


async def test_users_are_given_back_by_the_sandbox_alone_also_in_another_process(tmp_path: Path) -> None:
    await UserRange(tmp_path, range(FIRST, FIRST + 2), 108).allocate("one")
    with pytest.raises(ResourceExhausted, match="pairs of user ids"):
        await UserRange(tmp_path, range(FIRST, FIRST + 2), 108).allocate("two")
    UserRange(tmp_path, range(FIRST, FIRST + 2), 108).release("one")
    assert (await UserRange(tmp_path, range(FIRST, FIRST + 2), 108).allocate("two")).qemu.uid == FIRST


@pytest.fixture
async def taken(tmp_path: Path) -> UserRange:
    taken = UserRange(tmp_path, range(FIRST, FIRST + 2), 108)
    await taken.allocate("one")
    return taken


@pytest.fixture(params=HIDING)
def left(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the second user, as a QEMU or a vsock daemon that its guest has taken over may have left it."""
    if os.geteuid() != 0:
        pytest.skip("starts a process of another user")
    with process_of(FIRST + 1, HIDING[request.param]) as process:
        while request.param == HEADLESS and stat_of(process.pid)[0] != "Z":
            pass
        yield process


async def test_users_are_given_back_without_their_processes(taken: UserRange, left: subprocess.Popen[bytes]) -> None:
    identity = ProcessIdentity.of(left.pid)
    assert identity is not None
    taken.release("one")
    assert not identity.alive()
    assert left.wait() == -9
    found = [pid for pid, user in processes.processes_and_users() if user in (FIRST, FIRST + 1)]
    assert not [pid for pid in found if ProcessIdentity.of(pid) is not None], "none but zombies, whose init is slow"
    assert await taken.allocate("two")


@pytest.mark.parametrize("left", ["one"], indirect=True)
async def test_users_of_a_process_that_does_not_end_stay_taken(
    taken: UserRange, left: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_END_DEADLINE", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(ProcessIdentity, "kill", lambda _: None)  # As for one that waits for a disk.
        with pytest.raises(Unavailable, match=f"users {FIRST} and {FIRST + 1} do not end: {left.pid}"):
            taken.release("one")
        with pytest.raises(ResourceExhausted):
            await taken.allocate("two")
    taken.release("one")
    assert await taken.allocate("two")
