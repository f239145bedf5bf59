"""Processes that are watched without being children."""

import asyncio
import subprocess

from vmsandbox.process import ProcessIdentity


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
