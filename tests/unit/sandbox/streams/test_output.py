import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.support.waiting import until
from vmsandbox.fairness import TimeShare
from vmsandbox.model import Output
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams.log_writer import LogWriter
from vmsandbox.sandbox.streams.logs import ContainerLog
from vmsandbox.sandbox.streams.output import OutputPump


@dataclass
class Source:
    """A stream that hands out its chunks from an offset and remembers what was acknowledged."""

    chunks: list[bytes]
    acknowledged: list[int] = field(default_factory=list)

    async def __aiter__(self):
        for chunk in self.chunks:
            await asyncio.sleep(0)
            yield chunk

    def acknowledge(self, offset):
        self.acknowledged.append(offset)

    def reopen_if_still(self, seconds):
        return False


@pytest.fixture
def sources():
    return {Stream.STDOUT: Source([b"one\n", b"two"]), Stream.STDERR: Source([b"oops\n"])}


def pump_of(tmp_path, sources, **more):
    @asynccontextmanager
    async def open_source(stream, offset):
        assert offset == 0
        yield sources[stream]

    log = LogWriter(ContainerLog(tmp_path / "log", tmp_path / "position"), TimeShare())
    return OutputPump(log, list(sources), open_source, **more)


@pytest.fixture
def pump(tmp_path, sources):
    return pump_of(tmp_path, sources)


async def test_what_the_log_holds_is_acknowledged(pump, sources, tmp_path):
    await pump.run()
    assert sources[Stream.STDOUT].acknowledged == [4, 4, 7]
    assert (tmp_path / "log").read_bytes().count(b"\n") == 3


async def test_a_reader_gets_everything_from_the_first_byte(pump):
    output = pump.readers.read()
    pumping = asyncio.create_task(pump.run())
    pieces = [piece async for piece in output]
    await pumping
    assert [p.data for p in pieces if p.stream is Stream.STDOUT] == [b"one\n", b"two"]
    assert Output(Stream.STDERR, b"oops\n") in pieces


async def test_a_reader_who_stops_reading_holds_the_container_back_until_it_leaves(pump, sources):
    sources[Stream.STDOUT].chunks = [b"x\n"] * 100
    output = pump.readers.read()
    pumping = asyncio.create_task(pump.run())
    await anext(output)
    while len(sources[Stream.STDOUT].acknowledged) < 10:
        await asyncio.sleep(0)
    for _ in range(500):
        await asyncio.sleep(0)
    assert len(sources[Stream.STDOUT].acknowledged) < 30
    await output.aclose()
    await asyncio.wait_for(pumping, 5)
    assert sources[Stream.STDOUT].acknowledged[-1] == 200


async def test_a_reader_for_whom_both_streams_wait_holds_none_of_them_back_when_it_has_left(pump, sources):
    for source in sources.values():
        source.chunks = [b"x\n"] * 100
    output = pump.readers.read()
    pumping = asyncio.create_task(pump.run())
    await anext(output)
    (reader,) = pump.readers._readers
    await until(lambda: len(reader._slots._waiters or ()) == 2)
    await output.aclose()
    await asyncio.wait_for(pumping, 5)
    assert [source.acknowledged[-1] for source in sources.values()] == [200, 200]


async def test_a_reader_who_comes_after_the_end_gets_nothing_and_ends(pump):
    await pump.run()
    assert [piece async for piece in pump.readers.read()] == []


async def test_output_that_is_held_waits_for_its_first_reader(tmp_path, sources):
    pump = pump_of(tmp_path, sources, held=True)
    pumping = asyncio.create_task(pump.run())
    for _ in range(100):
        await asyncio.sleep(0)
    assert [source.acknowledged for source in sources.values()] == [[], []]
    assert {piece.data async for piece in pump.readers.read()} == {b"one\n", b"two", b"oops\n"}
    await pumping


async def test_output_that_is_held_goes_on_without_a_reader_when_it_is_released(tmp_path, sources):
    pump = pump_of(tmp_path, sources, held=True)
    pump.readers.release()
    await asyncio.wait_for(pump.run(), 30)
    assert all(source.acknowledged for source in sources.values())
