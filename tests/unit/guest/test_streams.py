"""Streams whose connections are lost: nothing is lost, nothing comes twice."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.processes import FakeProcess, cat
from tests.fakes.transport import UnixTransport
from tests.guest.client import runtime_spec
from tests.support.waiting import until
from tests.unit.guest.test_session import hang
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.session import Session
from vmsandbox.guest.streams import opening
from vmsandbox.guest.streams.input import WINDOW
from vmsandbox.guest.transport.connection import TransportBroken
from vmsandbox.protocol.messages import CreateContainer, OpenStream, Stream

PATTERN = random.Random(3).randbytes(1_500_000)


async def print_pattern(process: FakeProcess) -> int:
    for start in range(0, len(PATTERN), 10_000):
        await process.write(PATTERN[start : start + 10_000])
    return 0


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    async with FakeAgent(tmp_path) as agent:
        agent.programs[("/bin/sh", "-c", "pattern")] = print_pattern
        agent.programs[("/bin/sh", "-c", "cat")] = cat
        yield agent


@pytest.fixture
def transport(tmp_path: Path) -> UnixTransport:
    return UnixTransport(tmp_path)


@pytest.fixture
async def client(agent: FakeAgent, transport: UnixTransport) -> AsyncIterator[GuestClient]:
    async with Session(transport, "pod", hang) as session:
        await session.connect(10)
        yield GuestClient(session)


async def run(client: GuestClient, script: str, *, stdin: bool = False) -> None:
    await client.create_container(CreateContainer("c1", "image", runtime_spec(script), stdin=stdin))
    await client.start_container("c1")


@pytest.mark.parametrize("lag", [0, 70_000], ids=["acknowledging all", "acknowledging late"])
async def test_output_survives_losses_whole(agent: FakeAgent, client: GuestClient, lag: int) -> None:
    await run(client, "pattern")
    data, losses = b"", 0
    async with client.output("c1", Stream.STDOUT) as output:
        async for chunk in output:
            data += chunk
            output.acknowledge(max(0, output.offset - lag))
            if len(data) > (losses + 1) * 300_000:
                losses += 1
                await agent.hang_up()
    assert losses >= 4
    assert data == PATTERN


async def test_reading_can_be_cancelled_at_any_moment_without_loss(client: GuestClient) -> None:
    await run(client, "pattern")
    async with client.output("c1", Stream.STDOUT) as output:
        data = await anext(output)
        while len(data) < len(PATTERN):
            reading = asyncio.create_task(anext(output))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled():
                data += reading.result()
                output.acknowledge(output.offset)
    assert data == PATTERN


async def test_a_process_waits_for_acknowledgements(agent: FakeAgent, client: GuestClient) -> None:
    await run(client, "pattern")
    async with client.output("c1", Stream.STDOUT) as output:
        while output.offset < 256 * 1024:
            await anext(output)
        reading = asyncio.create_task(anext(output))
        await client.list_containers()
        assert not reading.done()
        output.acknowledge(1000)
        assert len(await reading) == 1000


async def test_acknowledging_what_was_not_read_is_a_mistake(client: GuestClient) -> None:
    await run(client, "pattern")
    async with client.output("c1", Stream.STDOUT) as output:
        with pytest.raises(InvalidArgument):
            output.acknowledge(1)


async def test_output_of_nobody_is_not_found(client: GuestClient) -> None:
    async with client.output("nobody", Stream.STDOUT) as output:
        with pytest.raises(NotFound):
            await anext(output)


async def test_a_closed_session_ends_streams_with_its_reason(
    agent: FakeAgent, client: GuestClient, transport: UnixTransport
) -> None:
    await run(client, "cat", stdin=True)
    async with client.output("c1", Stream.STDOUT) as output, client.input("c1") as stdin:
        await stdin.write(b"x")
        assert await anext(output) == b"x"
        transport.broken = TransportBroken("the vsock daemon has died")
        await agent.hang_up()
        with pytest.raises(Unavailable, match="daemon has died"):
            await anext(output)
        with pytest.raises(Unavailable, match="daemon has died"):
            await stdin.drain()
            await stdin.write(b"y" * 2 * WINDOW)


async def test_input_survives_losses_whole(agent: FakeAgent, client: GuestClient) -> None:
    await run(client, "cat", stdin=True)

    async def feed() -> None:
        async with client.input("c1") as stdin:
            for start in range(0, len(PATTERN), 100_000):
                await stdin.write(PATTERN[start : start + 100_000])
            await stdin.close_write()
            await stdin.drain()

    feeding = asyncio.create_task(feed())
    data, losses = b"", 0
    async with client.output("c1", Stream.STDOUT) as output:
        async for chunk in output:
            data += chunk
            output.acknowledge(output.offset)
            if len(data) > (losses + 1) * 300_000:
                losses += 1
                await agent.hang_up()
    await feeding
    assert losses >= 4
    assert data == PATTERN


async def test_a_writer_waits_for_a_process_that_does_not_read(client: GuestClient) -> None:
    await run(client, "sleep", stdin=True)
    async with client.input("c1") as stdin:
        writing = asyncio.create_task(stdin.write(PATTERN))
        await client.list_containers()
        await client.list_containers()
        assert not writing.done()
        assert len(stdin._buffer) <= WINDOW
        writing.cancel()
        await asyncio.wait([writing])


async def test_writing_after_close_write_is_a_mistake(client: GuestClient) -> None:
    await run(client, "cat", stdin=True)
    async with client.input("c1") as stdin:
        await stdin.close_write()
        await stdin.close_write()
        with pytest.raises(FailedPrecondition):
            await stdin.write(b"x")
        await stdin.drain()


async def test_a_stream_that_ends_every_time_is_given_up(
    agent: FakeAgent, client: GuestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_LONGEST_PAUSE", 0.01)

    async def no_token(_: OpenStream) -> object:
        return agent._offer(lambda connection: asyncio.sleep(0))

    agent._open_stream = no_token  # type: ignore[assignment,method-assign]
    async with client.output("c1", Stream.STDOUT) as output:
        with pytest.raises(Unavailable, match="given up after 8 attempts"):
            await anext(output)


async def test_leaving_a_stream_lets_the_next_reader_go_on(client: GuestClient) -> None:
    await run(client, "pattern")
    offset, data = 0, b""
    while offset < len(PATTERN):
        async with client.output("c1", Stream.STDOUT, offset=offset) as output:
            data += await anext(output)
            offset = output.offset
            output.acknowledge(offset)
    assert data == PATTERN


async def test_a_stream_that_stands_still_is_opened_again_where_it_was(agent: FakeAgent, client: GuestClient) -> None:
    await run(client, "pattern")
    opened, whole = 0, agent._open_stream

    async def still_at_first(request: OpenStream) -> object:
        nonlocal opened
        opened += 1
        return await whole(request) if opened > 1 else agent._offer(lambda connection: asyncio.sleep(3600))

    agent._open_stream = still_at_first  # type: ignore[assignment,method-assign]
    data = b""
    async with client.output("c1", Stream.STDOUT) as output:
        assert not output.reopen_if_still(0)
        reading = asyncio.ensure_future(anext(output))
        await until(lambda: output._waiting_since is not None)
        assert not output.reopen_if_still(3600)
        assert output.reopen_if_still(0)
        data += await reading
        output.acknowledge(output.offset)
        async for chunk in output:
            data += chunk
            output.acknowledge(output.offset)
    assert (opened, data) == (2, PATTERN)
