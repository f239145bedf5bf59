"""The connections of a server, as its clients meet them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.support.waiting import until
from vmsandbox import aio

GREETING = b"hello\n"
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def greet_for_ever(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GREETING)
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def clients(connections: aio.Connections, patience: float | None = None) -> AsyncIterator[list[Client]]:
    """A server with three clients, which it has accepted one after the other. The clients outlive it."""
    server = await asyncio.start_server(connections.accept, "127.0.0.1", 0)
    found: list[Client] = []
    try:
        async with connections.of(server, patience):
            for _ in range(3):
                found.append(await asyncio.open_connection(*server.sockets[0].getsockname()))
                assert await found[-1][0].readline() == GREETING
            yield found
    finally:
        for _, writer in found:
            writer.close()


async def ended(client: Client) -> bool:
    async with asyncio.timeout(5):
        return await client[0].read() == b""


async def test_the_end_of_the_server_is_that_of_its_connections() -> None:
    async with clients(aio.Connections(greet_for_ever, "client")) as found:
        pass
    assert [await ended(client) for client in found] == [True, True, True]


async def test_one_stranger_more_than_may_be_there_pushes_the_oldest_out() -> None:
    async with clients(aio.Connections(greet_for_ever, "client", most_strangers=2)) as found:
        assert await ended(found[0])
        assert not any(reader.at_eof() for reader, _ in found[1:])


async def test_a_connection_that_was_welcomed_is_not_pushed_out() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.welcome(asyncio.current_task())
        await greet_for_ever(reader, writer)

    connections = aio.Connections(serve, "client", most_strangers=1)
    async with clients(connections) as found:
        assert not any(reader.at_eof() for reader, _ in found)


async def test_a_connection_whose_task_fails_is_closed_and_the_error_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        raise ValueError("a defect")

    async with clients(aio.Connections(serve, "client of a test")) as found:
        assert await ended(found[0])
    assert "client of a test: ended by an error" in caplog.text


async def test_a_server_whose_patience_ends_closes_connections_whose_tasks_go_on() -> None:
    may_end, stayed = asyncio.Event(), 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal stayed
        writer.write(GREETING)
        try:
            await asyncio.Event().wait()
        finally:
            stayed += 1
            await may_end.wait()
            stayed -= 1

    async with asyncio.timeout(5), clients(aio.Connections(serve, "client"), patience=0.05) as found:
        pass
    assert stayed == 3
    assert await ended(found[0])
    may_end.set()
    await until(lambda: stayed == 0)


async def test_a_connection_that_comes_after_the_end_is_closed_unserved() -> None:
    connections = aio.Connections(greet_for_ever, "client")
    async with clients(connections):
        pass
    server = await asyncio.start_server(connections.accept, "127.0.0.1", 0)
    late = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await ended(late)
    late[1].close()
    server.close()
