"""Commands that are ended, and processes that are watched without being children."""

import asyncio
import subprocess

import pytest

from vmsandbox.errors import DeadlineExceeded
from vmsandbox.process import ProcessIdentity, commands


async def test_the_end_of_a_process_is_told_at_once_and_again() -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        identity = ProcessIdentity.of(process.pid)
        assert identity is not None
        ended = asyncio.create_task(identity.ended())
        await asyncio.sleep(0.05)
        assert not ended.done()
        process.kill()
        async with asyncio.timeout(30):
            await ended
            process.wait()
            await identity.ended()


async def test_whoever_stops_waiting_for_a_process_leaves_nothing_behind() -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        identity = ProcessIdentity.of(process.pid)
        assert identity is not None
        for _ in range(2):
            waiting = asyncio.create_task(identity.ended())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
        process.kill()


async def test_a_command_that_does_not_end_in_time_is_killed() -> None:
    with pytest.raises(DeadlineExceeded, match="sleep did not end within"):
        await commands.run(["sleep", "1000"], timeout=0.05)


async def test_a_killed_command_that_waits_for_a_disk_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL does not end what the kernel has waiting for a disk; here nothing is sent at all."""
    killed: list[int] = []
    monkeypatch.setattr(commands, "_DYING", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr("os.killpg", lambda group, _: killed.append(group))
        with pytest.raises(DeadlineExceeded):
            await commands.run(["sleep", "1000"], timeout=0.05)
    (group,) = killed
    identity = ProcessIdentity.of(group)
    assert identity is not None
    identity.kill()
    async with asyncio.timeout(30):
        await identity.ended()
