"""The end of a connection to a guest that takes nothing in."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from tests.support.waiting import until
from vmsandbox.guest.transport import connection as transport
from vmsandbox.guest.transport.connection import GuestConnection


@pytest.fixture
async def ends(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """Ours, and the guest's, which nobody reads."""
    monkeypatch.setattr(transport, "_FAREWELL", 0.2)
    ours, guests = socket.socketpair()
    with ours, guests:
        yield ours, guests


async def use(ours: socket.socket) -> None:
    connection = GuestConnection(*await asyncio.open_connection(sock=ours), 1 << 20)
    try:
        await connection.send(bytes(4_000_000))
    finally:
        await connection.aclose()


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_connection_that_takes_nothing_is_given_up_however_often_its_user_is_cancelled(
    ends: tuple[socket.socket, socket.socket], times: int
) -> None:
    task = asyncio.create_task(use(ends[0]))
    for _ in range(times):
        await asyncio.sleep(0.02)
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await until(lambda: ends[0].fileno() < 0, 5)


async def test_what_was_sent_is_delivered_though_the_close_is_cancelled(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    connection = GuestConnection(*await asyncio.open_connection(sock=ends[0]), 1 << 20)
    sending = asyncio.create_task(connection.send(bytes(1_000_000)))
    await asyncio.sleep(0)
    closing = asyncio.create_task(connection.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    received = 0
    while data := await asyncio.to_thread(ends[1].recv, 1 << 20):
        received += len(data)
    assert received >= 1_000_000
    await asyncio.gather(sending, closing, return_exceptions=True)
