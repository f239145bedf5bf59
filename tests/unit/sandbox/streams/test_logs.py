import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.errors import InvalidArgument
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams import logs
from vmsandbox.sandbox.streams.logs import LINE_LIMIT, ContainerLog

ENTRY = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) (.*)")


def entries(path: Path) -> list[tuple[str, str, bytes]]:
    matches = [ENTRY.fullmatch(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return [(m[2].decode(), m[3].decode(), m[4]) for m in matches if m]


def content(path: Path, stream: str) -> bytes:
    return b"".join(text + (b"\n" if tag == "F" else b"") for name, tag, text in entries(path) if name == stream)


@pytest.fixture
def log(tmp_path: Path) -> ContainerLog:
    return ContainerLog(tmp_path / "pod" / "0.log", tmp_path / "position")


def test_a_line_carries_a_timestamp_its_stream_and_a_full_tag(log, tmp_path):
    log.write(Stream.STDERR, b"oh\n")
    assert entries(tmp_path / "pod" / "0.log") == [("stderr", "F", b"oh")]


def test_a_log_can_be_read_by_its_group_and_its_directory_be_listed_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with ContainerLog(tmp_path / "pod" / "0.log", tmp_path / "position") as log:
            (tmp_path / "pod" / "0.log").rename(tmp_path / "pod" / "0.log.1")
            log.reopen()
    finally:
        os.umask(before)
    modes = {name: oct((tmp_path / name).stat().st_mode & 0o777) for name in ("pod", "pod/0.log", "position")}
    assert modes == {"pod": "0o755", "pod/0.log": "0o640", "position": "0o600"}


def test_a_line_in_two_chunks_is_one_entry(log, tmp_path):
    log.write(Stream.STDOUT, b"he")
    assert log.offset(Stream.STDOUT) == 0
    log.write(Stream.STDOUT, b"llo\n")
    assert entries(tmp_path / "pod" / "0.log") == [("stdout", "F", b"hello")]
    assert log.offset(Stream.STDOUT) == 6


def test_a_long_line_is_written_in_pieces(log, tmp_path):
    log.write(Stream.STDOUT, b"x" * (LINE_LIMIT + 10) + b"\n")
    assert [(tag, len(text)) for _, tag, text in entries(tmp_path / "pod" / "0.log")] == [("P", LINE_LIMIT), ("F", 10)]


def test_a_line_of_exactly_the_limit_is_full(log, tmp_path):
    log.write(Stream.STDOUT, b"x" * LINE_LIMIT + b"\n")
    assert [tag for _, tag, _ in entries(tmp_path / "pod" / "0.log")] == ["F"]


def test_output_that_ends_without_a_newline_is_a_piece(log, tmp_path):
    log.write(Stream.STDOUT, b"prompt> ")
    log.end(Stream.STDOUT)
    assert entries(tmp_path / "pod" / "0.log") == [("stdout", "P", b"prompt> ")]
    assert log.offset(Stream.STDOUT) == 8


def test_a_log_goes_on_in_a_new_file_after_a_rotation(log, tmp_path):
    path = tmp_path / "pod" / "0.log"
    log.write(Stream.STDOUT, b"old\n")
    path.rename(tmp_path / "pod" / "0.log.1")
    log.write(Stream.STDOUT, b"still old\n")
    log.reopen()
    log.write(Stream.STDOUT, b"new\n")
    assert content(tmp_path / "pod" / "0.log.1", "stdout") == b"old\nstill old\n"
    assert content(path, "stdout") == b"new\n"


def test_a_log_that_cannot_be_opened_is_an_invalid_argument(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match="cannot be opened"):
        ContainerLog(tmp_path / "file" / "0.log", tmp_path / "position")


def test_without_a_path_the_offsets_are_counted(tmp_path):
    with ContainerLog(None, tmp_path / "position") as log:
        log.write(Stream.STDOUT, b"a\nb")
        assert log.offset(Stream.STDOUT) == 2


def test_the_lines_of_a_chunk_are_written_in_few_steps(log, tmp_path, monkeypatch):
    """16 KiB of empty lines took 63 ms when each was a step."""
    timestamps, writes = [], []
    monkeypatch.setattr(logs, "rfc3339", lambda _: timestamps.append(1) or "2026-01-01T00:00:00.000000000Z")
    monkeypatch.setattr(logs.os, "write", lambda fd, data: writes.append(fd) or len(data))
    log.write(Stream.STDOUT, b"\n" * 16384)
    assert (len(timestamps), len(writes)) == (2, 1)
    assert log.offset(Stream.STDOUT) == 16384


@given(
    st.lists(st.sampled_from([b"\n", b"x", b"x" * LINE_LIMIT, b"y" * (LINE_LIMIT - 1), b"\n\n", b"ab\n"]), max_size=12)
)
def test_lines_of_any_length_are_cut_where_the_limit_is(tmp_path_factory, pieces):
    directory = tmp_path_factory.mktemp("log")
    with ContainerLog(directory / "0.log", directory / "position") as log:
        for piece in pieces:
            log.write(Stream.STDOUT, piece)
        log.end(Stream.STDOUT)
    written = entries(directory / "0.log")
    assert content(directory / "0.log", "stdout") == b"".join(pieces)
    assert all(len(text) <= LINE_LIMIT for _, _, text in written)
    assert all(tag == "F" or len(text) == LINE_LIMIT for _, tag, text in written[:-1])


chunks = st.lists(
    st.tuples(st.sampled_from([Stream.STDOUT, Stream.STDERR]), st.binary(max_size=40) | st.just(b"a\nb\n\n")),
    max_size=12,
)


@given(output=chunks, kill_at=st.integers(0, 12), torn=st.integers(0, 200), rotate=st.booleans())
def test_a_kill_at_any_byte_loses_nothing_and_repeats_nothing(tmp_path_factory, output, kill_at, torn, rotate):
    """The daemon dies after `kill_at` chunks and `torn` bytes of a log entry whose position was not yet written."""
    directory = tmp_path_factory.mktemp("log")
    path, position = directory / "0.log", directory / "position"
    sent = {stream: b"".join(data for s, data in output if s is stream) for stream in (Stream.STDOUT, Stream.STDERR)}
    with ContainerLog(path, position) as log:
        for stream, data in output[:kill_at]:
            log.write(stream, data)
    with path.open("ab") as file:
        file.write((b"2026-01-01T00:00:00.000000000Z stdout F torn" * 5)[:torn])
    if rotate:
        os.rename(path, directory / "0.log.1")
    with ContainerLog(path, position) as log:
        for stream, data in sent.items():
            log.write(stream, data[log.offset(stream) :])
            log.end(stream)
    for stream, data in sent.items():
        rotated = content(directory / "0.log.1", stream.value) if rotate else b""
        assert rotated + content(path, stream.value) == data


def test_what_the_disk_refuses_is_lost_and_the_rest_goes_on(tmp_path, caplog):
    with ContainerLog(tmp_path / "log", tmp_path / "position") as log:
        log.write(Stream.STDOUT, b"before\n")
        full = os.open("/dev/full", os.O_WRONLY)
        kept, log._fd = log._fd, full
        log.write(Stream.STDOUT, b"lost\n")
        log.write(Stream.STDOUT, b"lost\n")
        os.close(full)
        log._fd = kept
        log.write(Stream.STDOUT, b"after\n")
        assert log.offset(Stream.STDOUT) == len(b"before\nlost\nlost\nafter\n")
    assert [line.split()[3] for line in (tmp_path / "log").read_text().splitlines()] == ["before", "after"]
    assert caplog.text.count("output is lost") == 1
