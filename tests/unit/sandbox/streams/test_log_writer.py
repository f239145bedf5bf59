"""A log that is written in a thread: in order, to its end, and not in the event loop."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until
from vmsandbox.errors import DeadlineExceeded
from vmsandbox.fairness import AHEAD, PART, TimeShare
from vmsandbox.fs import lane
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams import log_writer
from vmsandbox.sandbox.streams.log_writer import LOG_RATE, LogWriter
from vmsandbox.sandbox.streams.logs import ContainerLog


class SlowLog(ContainerLog):
    """A log on a disk that takes what is written when the test says so."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "log", directory / "position")
        self.writing = threading.Event()
        self.go_on = threading.Event()
        self.closed = False

    def write(self, stream: Stream, data: bytes) -> int:
        self.writing.set()
        assert self.go_on.wait(10)
        assert not self.closed
        return super().write(stream, data)

    def close(self) -> None:
        self.closed = True
        super().close()


class SlowToClose(ContainerLog):
    """A log on a network's disk, which takes what was kept back when it is closed, and when the test says so."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "log", directory / "position")
        self.go_on, self.closed = threading.Event(), threading.Event()

    def close(self) -> None:
        assert self.go_on.wait(10)
        super().close()
        self.closed.set()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SlowLog]:
    log = SlowLog(tmp_path)
    yield log
    log.go_on.set()


async def until_writing(log: SlowLog) -> None:
    assert await asyncio.to_thread(log.writing.wait, 10)


async def test_a_disk_that_hangs_does_not_hold_up_the_event_loop(log: SlowLog) -> None:
    writer = LogWriter(log, TimeShare())
    writing = asyncio.create_task(writer.write(Stream.STDOUT, b"line\n"))
    await until_writing(log)
    assert not writing.done()
    assert writer.offset(Stream.STDOUT) == 0
    log.go_on.set()
    await writing
    assert writer.offset(Stream.STDOUT) == 5
    writer.close()
    await until(lambda: log.closed)


async def test_a_disk_that_hangs_holds_up_no_other_log(
    log: SlowLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "STUCK", 0.05)
    writer = LogWriter(log, TimeShare())
    hanging = asyncio.create_task(writer.write(Stream.STDOUT, b"line\n"))
    await until_writing(log)
    other = LogWriter(ContainerLog(tmp_path / "other", tmp_path / "other.position"), TimeShare())
    async with asyncio.timeout(10):
        await other.write(Stream.STDOUT, b"another\n")
        await other.end(Stream.STDOUT)
    assert not hanging.done()
    log.go_on.set()
    await hanging
    writer.close()
    other.close()
    assert (tmp_path / "other").read_bytes().endswith(b" stdout F another\n")


async def test_a_log_that_does_not_answer_its_reopening_is_an_error_that_names_it(
    log: SlowLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "DEADLINE", 0.05)
    writer = LogWriter(log, TimeShare())
    hanging = asyncio.create_task(writer.write(Stream.STDOUT, b"line\n"))
    await until_writing(log)
    with pytest.raises(DeadlineExceeded, match=f"{tmp_path / 'log'} did not answer"):
        await writer.reopen()
    log.go_on.set()
    await hanging
    writer.close()


async def test_a_write_that_is_cancelled_comes_to_its_end_before_the_log_is_closed(
    log: SlowLog, tmp_path: Path
) -> None:
    writer = LogWriter(log, TimeShare())
    writing = asyncio.create_task(writer.write(Stream.STDOUT, b"line\n"))
    await until_writing(log)
    writing.cancel()
    await asyncio.wait([writing], timeout=10)
    assert writing.cancelled()
    writer.close()
    assert not log.closed
    log.go_on.set()
    await until(lambda: log.closed)
    assert (tmp_path / "log").read_bytes().endswith(b" stdout F line\n")
    with ContainerLog(tmp_path / "log", tmp_path / "position") as again:
        assert again.offset(Stream.STDOUT) == 5


async def test_a_disk_that_hangs_when_a_log_is_closed_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    log = SlowToClose(tmp_path)
    LogWriter(log, TimeShare()).close()
    assert not log.closed.is_set()
    log.go_on.set()
    assert await asyncio.to_thread(log.closed.wait, 10)


async def test_a_log_goes_on_in_a_new_file_only_between_two_writes(log: SlowLog, tmp_path: Path) -> None:
    writer = LogWriter(log, TimeShare())
    writing = asyncio.create_task(writer.write(Stream.STDOUT, b"old\n"))
    await until_writing(log)
    (tmp_path / "log").rename(tmp_path / "log.1")
    reopening = asyncio.create_task(writer.reopen())
    log.go_on.set()
    await asyncio.gather(writing, reopening)
    await writer.write(Stream.STDOUT, b"new\n")
    writer.close()
    assert b"old" in (tmp_path / "log.1").read_bytes()
    assert b"new" in (tmp_path / "log").read_bytes()


async def test_a_closed_log_is_not_opened_again(tmp_path: Path) -> None:
    writer = LogWriter(ContainerLog(tmp_path / "log", tmp_path / "position"), TimeShare())
    writer.close()
    (tmp_path / "log").unlink()
    await writer.reopen()
    assert not (tmp_path / "log").exists()


async def test_empty_lines_are_charged_by_what_they_make_of_the_log(tmp_path: Path) -> None:
    share = TimeShare()
    writer = LogWriter(ContainerLog(tmp_path / "log", tmp_path / "position"), share)
    await writer.write(Stream.STDOUT, b"\n" * 16384)
    writer.close()
    size = (tmp_path / "log").stat().st_size
    assert size > 40 * 16384
    assert share._unbroken >= size * PART / LOG_RATE
    assert share._unbroken < AHEAD
