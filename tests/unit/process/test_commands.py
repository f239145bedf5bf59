"""Commands that are ended, and processes that are watched without being children."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition
from vmsandbox.process import ProcessIdentity, commands

OWN_SCORE = Path("/proc/self/oom_score_adj")


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


async def test_a_log_has_no_more_than_its_first_bytes_and_its_writer_goes_on(tmp_path: Path) -> None:
    log, done = tmp_path / "log", tmp_path / "done"
    script = f"for each in 1 2 3 4 5; do seq 10000; done; touch {done}; exec sleep 1000"
    daemon = await commands.start_daemon(["sh", "-c", script], log, most=3000)
    await until(done.exists)
    daemon.kill()
    assert log.read_text() == "".join(f"{number}\n" for number in range(1, 10001))[:3000]


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
    left: list[asyncio.subprocess.Process] = []

    async def leave(process: asyncio.subprocess.Process) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("os.killpg", lambda *_: left.append(process))
            await kill_group(process)

    kill_group = commands._kill_group
    monkeypatch.setattr(commands, "_DYING", 0.05)
    monkeypatch.setattr(commands, "_kill_group", leave)
    with pytest.raises(DeadlineExceeded):
        await commands.run(["sleep", "1000"], timeout=0.05)
    (process,) = left
    process.kill()
    async with asyncio.timeout(30):
        await process.wait()  # So that asyncio knows of its end before the loop is closed.


@pytest.fixture
def protected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set a score like the unit of systemd (OOMScoreAdjust=). Few may go below 0, so 100 stands for it."""
    before = OWN_SCORE.read_text()
    OWN_SCORE.write_text("100")
    assert commands.oom_score_of("self") == 100
    monkeypatch.setattr(commands, "oom_score_of", lambda pid: -999)
    yield
    OWN_SCORE.write_text(before)


@pytest.mark.usefixtures("protected")
async def test_commands_do_not_inherit_that_the_kernel_spares_this_process() -> None:
    assert (await commands.run(["cat", str(OWN_SCORE)])).stdout == b"0\n"
    async with commands.echoing(["cat"]) as pid:
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "0\n"
    assert OWN_SCORE.read_text() == "100\n"


@pytest.mark.usefixtures("protected")
async def test_a_daemon_does_not_inherit_that_the_kernel_spares_this_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    daemon = await commands.start_daemon(["sh", "-c", f"cat {OWN_SCORE}; exec sleep 1000"], log)
    try:
        await until(log.read_text, 30)
        assert log.read_text() == "0\n"
    finally:
        daemon.kill()


@pytest.mark.usefixtures("protected")
async def test_a_program_that_is_not_installed_is_named_also_where_another_starts_it(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="the program no-such-program is not installed"):
        await commands.run(["no-such-program"])
    with pytest.raises(FailedPrecondition, match="the program no-such-program is not installed"):
        await commands.start_daemon(["no-such-program"], tmp_path / "log")
