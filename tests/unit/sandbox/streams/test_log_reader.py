"""Reading logs in the CRI's format: lines, pieces, rotations, the end."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from vmsandbox.errors import FailedPrecondition, NotFound
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams.log_reader import LogEntry, follow_log

TIME = "2026-01-01T00:00:00.000000001Z"


def line(text: str, tag: str = "F", stream: str = "stdout") -> bytes:
    return f"{TIME} {stream} {tag} {text}\n".encode()


async def read(path: Path) -> list[LogEntry]:
    async with aclosing(follow_log(path, ended=lambda: True)) as entries:
        return [entry async for entry in entries]


async def test_entries_have_time_stream_and_content(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(line("one") + line("two  words ", stream="stderr") + line("piece", "P"))
    assert await read(log) == [
        LogEntry(TIME, Stream.STDOUT, True, b"one"),
        LogEntry(TIME, Stream.STDERR, True, b"two  words "),
        LogEntry(TIME, Stream.STDOUT, False, b"piece"),
    ]


async def test_a_line_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    log, whole = tmp_path / "log", line("slow")
    log.write_bytes(whole[:20])
    ended = asyncio.Event()

    async def write() -> None:
        await asyncio.sleep(0.3)
        with log.open("ab") as file:
            file.write(whole[20:])
        ended.set()

    writing = asyncio.create_task(write())
    async with aclosing(follow_log(log, ended=ended.is_set)) as entries:
        assert [entry.content async for entry in entries] == [b"slow"]
    await writing


async def test_a_rotation_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    log, ended, seen = tmp_path / "log", asyncio.Event(), []
    log.write_bytes(line("one"))
    async with aclosing(follow_log(log, ended=ended.is_set)) as entries:
        async for entry in entries:
            seen.append(entry.content)
            if entry.content == b"one":
                with log.open("ab") as file:
                    file.write(line("two"))
                log.rename(tmp_path / "log.1")
                log.write_bytes(line("three"))
            elif entry.content == b"three":
                ended.set()
    assert seen == [b"one", b"two", b"three"]


async def test_a_file_that_is_not_a_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await read(tmp_path / "absent")
    (tmp_path / "log").write_bytes(b"plain text\n")
    with pytest.raises(FailedPrecondition, match="plain text"):
        await read(tmp_path / "log")


async def test_a_log_that_cannot_be_read_is_not_a_matter_of_rights_where_it_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="cannot be read") as raised:
        await read(tmp_path)
    assert raised.value.hint == "", "root cannot read it either"
