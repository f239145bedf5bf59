"""Bytes that wait for somebody who takes them."""

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator

from vmsandbox.streaming.io.pipe import LIMIT, OWN, Allowance, Pipe
from vmsandbox.streaming.protocol.spdy import windows


async def test_a_pipe_gives_what_was_put_and_its_end() -> None:
    pipe = Pipe(Allowance())
    pipe.put(b"a")
    pipe.put(b"b")
    pipe.end()
    assert [piece async for piece in pieces_of(pipe)] == [b"ab"]
    assert pipe.size == 0


async def test_a_pipe_gives_large_data_in_pieces() -> None:
    pipe = Pipe(Allowance())
    data = random.Random(3).randbytes(300_000)
    pipe.put(data)
    pipe.end()
    pieces = [piece async for piece in pieces_of(pipe)]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 64 * 1024


async def pieces_of(pipe: Pipe) -> AsyncIterator[bytes]:
    while piece := await pipe.get():
        yield piece
        pipe.consumed(len(piece))


async def test_what_was_got_from_a_pipe_counts_until_it_is_consumed() -> None:
    pipe = Pipe(Allowance())
    pipe.put(b"abc")
    assert (await pipe.get(), pipe.size) == (b"abc", 3)
    pipe.put(b"de")
    pipe.consumed(1)
    assert pipe.size == 4
    assert (pipe.discard(), pipe.size) == (4, 0)


async def test_the_pipes_of_a_connection_have_one_allowance_for_what_is_not_their_own() -> None:
    allowance = Allowance()
    first, second = Pipe(allowance), Pipe(allowance)
    first.put(bytes(OWN + LIMIT // 2))
    second.put(bytes(OWN + LIMIT // 2 - 1))
    assert not allowance.spent
    second.put(b"x")
    assert allowance.spent
    first.consumed(len(await first.get()))
    async with asyncio.timeout(5):
        await allowance.returned()


async def test_a_pipe_gives_back_what_it_took_however_it_is_emptied() -> None:
    allowance = Allowance()
    other, pipe = Pipe(allowance), Pipe(allowance)
    other.put(bytes(OWN + LIMIT - 1))
    for _ in range(3):
        pipe.put(bytes(OWN))
        assert not allowance.spent
        pipe.put(b"x")
        assert allowance.spent
        pipe.consumed(len(await pipe.get()))
        assert not allowance.spent
        pipe.put(bytes(3 * OWN))
        await pipe.get()
        pipe.discard()
        assert not allowance.spent


def test_a_pipe_takes_the_window_of_a_stream_in_without_the_allowance() -> None:
    assert OWN >= windows.INITIAL


async def test_a_pipe_that_is_filled_by_small_pieces_holds_no_more_memory_than_by_large_ones() -> None:
    pipe = Pipe(Allowance())
    tracemalloc.start()
    try:
        for number in range(LIMIT // 8):
            pipe.put(number.to_bytes(8, "big"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pipe.size == LIMIT
    assert held < 2 * LIMIT
