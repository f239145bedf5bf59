"""Bytes that wait for somebody who takes them."""

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator

from vmsandbox.streaming.io.byte_queue import PIECE, Backlog, ByteQueue

LIMIT = 1024 * 1024


async def test_a_queue_gives_what_was_put_and_its_end() -> None:
    queue = ByteQueue(Backlog(LIMIT))
    queue.put(b"a")
    queue.put(b"b")
    queue.end()
    assert [piece async for piece in pieces_of(queue)] == [b"ab"]
    assert queue.size == 0


async def test_a_queue_gives_large_data_in_pieces() -> None:
    queue = ByteQueue(Backlog(LIMIT))
    data = random.Random(3).randbytes(300_000)
    queue.put(data)
    queue.end()
    pieces = [piece async for piece in pieces_of(queue)]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 64 * 1024


async def pieces_of(queue: ByteQueue) -> AsyncIterator[bytes]:
    while piece := await queue.get():
        yield piece
        queue.consumed(len(piece))


async def test_what_was_got_from_a_queue_counts_until_it_is_consumed() -> None:
    queue = ByteQueue(Backlog(LIMIT))
    queue.put(b"abc")
    assert (await queue.get(), queue.size) == (b"abc", 3)
    queue.put(b"de")
    queue.consumed(1)
    assert queue.size == 4
    assert (queue.discard(), queue.size) == (4, 0)


async def test_the_queues_of_a_client_have_one_backlog() -> None:
    backlog = Backlog(LIMIT)
    first, second = ByteQueue(backlog), ByteQueue(backlog)
    first.put(bytes(LIMIT // 2))
    second.put(bytes(LIMIT // 2))
    assert not backlog.full
    second.put(b"x")
    assert backlog.full
    waiting = asyncio.create_task(backlog.fits())
    first.consumed(len(await first.get()))
    async with asyncio.timeout(5):
        await waiting


async def test_a_queue_leaves_the_backlog_however_it_is_emptied() -> None:
    backlog = Backlog(LIMIT)
    other, queue = ByteQueue(backlog), ByteQueue(backlog)
    other.put(bytes(LIMIT))
    for _ in range(3):
        queue.put(b"x")
        assert backlog.full
        queue.consumed(len(await queue.get()))
        assert not backlog.full
        queue.put(bytes(3 * PIECE))
        await queue.get()
        queue.discard()
        assert not backlog.full


async def test_a_queue_that_is_filled_by_small_pieces_holds_no_more_memory_than_by_large_ones() -> None:
    queue = ByteQueue(Backlog(LIMIT))
    tracemalloc.start()
    try:
        for number in range(LIMIT // 8):
            queue.put(number.to_bytes(8, "big"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert queue.size == LIMIT
    assert held < 2 * LIMIT
