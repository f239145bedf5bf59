"""The console's reader against a socket that stands for QEMU's."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.hypervisor import console as module
from vmsandbox.hypervisor.console import KEPT, LONGEST_LINE, ConsoleReader


class Console:
    """QEMU's end: it listens, takes one reader, and prints."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._taken: socket.socket | None = None

    @property
    def taken(self) -> socket.socket:
        if self._taken is None:
            self._taken, _ = self._listener.accept()
        return self._taken

    def print(self, text: bytes) -> None:
        self.taken.sendall(text)

    def flood(self) -> int:
        """Print until nobody takes any more, as QEMU does, which then drops it; returns the bytes taken."""
        self.taken.setblocking(False)
        sent = 0
        try:
            while True:
                sent += self.taken.send(b"flood\n" * 10_000)
        except BlockingIOError:
            return sent

    def die(self) -> None:
        for end in (self._taken, self._listener):
            if end is not None:
                end.close()


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    console = Console(tmp_path / "console.sock")
    yield console
    console.die()


async def test_the_last_lines_are_there_at_once(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        console.print(b"one\r\ntwo\r\nthr")
        assert reader.last_lines(2) == ["two", "thr"]
        console.print(b"ee\n\n")
        assert reader.last_lines(20) == ["one", "two", "three"]


async def test_it_is_read_from_a_position_on(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        console.print(b"one\r\n\x1b[6n")
        assert reader.since(0) == ("one\r\n\x1b[6n", 9)
        console.print(b"two")
        assert reader.since(9) == ("two", 12)
        assert reader.since(12) == ("", 12)
        assert reader.since(99) == ("", 12)


async def test_a_position_that_is_not_kept_any_more_is_left_out(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        console.print(b"x" * KEPT)
        assert reader.since(0)[1] == KEPT
        console.print(b"end")
        text, position = reader.since(1)
        assert (len(text), text[-3:], position) == (KEPT, "end", KEPT + 3)


async def test_what_was_printed_before_the_machine_died_is_there(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        console.print(b"Kernel panic - not syncing\n")
        console.die()
        assert reader.last_lines(5) == ["Kernel panic - not syncing"]
        assert reader.last_lines(5) == ["Kernel panic - not syncing"]


async def test_of_a_panic_the_lines_that_led_to_it_are_the_last(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        console.print(b"cannot mount /dev/sda\nKernel panic - not syncing: no init\nCPU: 0\nRAX: 0\n")
        assert reader.last_lines(2) == ["cannot mount /dev/sda", "Kernel panic - not syncing: no init"]


async def test_what_nobody_asked_for_is_there_after_the_context(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        console.print(b"last words\n")
    assert reader.last_lines(5) == ["last words"]


async def test_a_reset_console_is_one_that_ended(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        console.print(b"words\n")
        console.taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        console.die()
        await asyncio.sleep(0)
        assert reader.last_lines(5) == ["words"]


async def test_a_console_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    async with ConsoleReader(tmp_path / "console.sock") as reader:
        assert reader.last_lines(5) == []
    (tmp_path / "file").touch()
    async with ConsoleReader(tmp_path / "file") as reader:
        assert reader.last_lines(5) == []
    assert ConsoleReader(tmp_path / "never entered").last_lines(5) == []


async def test_it_is_read_without_being_asked(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        total = 0
        async with asyncio.timeout(10):
            while total < 3 * KEPT:
                total += console.flood()
                await asyncio.sleep(module._PAUSE)
        assert "flood".startswith(reader.last_lines(1)[0])


async def test_it_is_kept_bounded(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        for _ in range(8):
            console.flood()
            lines = reader.last_lines(10**6)
        assert len(lines) <= KEPT / len("flood\n") + 1


async def test_reading_pauses(console: Console) -> None:
    """A guest that prints as fast as it can gets a piece read per pause, and no more."""
    clock = asyncio.get_running_loop().time
    async with ConsoleReader(console.path):
        taken, begin = console.flood(), clock()
        while clock() - begin < 3 * module._PAUSE:
            taken += console.flood()
            await asyncio.sleep(0.001)
        reads = (clock() - begin) / module._PAUSE + 1
    assert taken <= (reads + 1) * module._PIECE * module._PIECES


async def test_a_line_without_end_is_cut(console: Console) -> None:
    async with ConsoleReader(console.path) as reader:
        console.print(b"x" * 100_000)
        assert reader.last_lines(1) == ["x" * LONGEST_LINE]


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;new title\x07text", "text"),
        (b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b(B\x1b[?25lplain\x1bc", "plain"),
        (b"over\rwritten", "overwritten"),
        (b"a\x00b\x08c\x7fd", "abcd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("right\u202eleft".encode(), "rightleft"),
        (b"\ttab kept", "\ttab kept"),
    ],
)
async def test_nothing_that_steers_a_terminal_comes_through(console: Console, printed: bytes, shown: str) -> None:
    async with ConsoleReader(console.path) as reader:
        console.print(printed + b"\n")
        assert reader.last_lines(1) == [shown]


@given(st.binary(max_size=2000))
def test_whatever_is_printed_is_shown_as_text(printed: bytes) -> None:
    reader = ConsoleReader(Path("/nonexistent"))
    reader._kept += printed
    for line in reader.last_lines(1000):
        assert line and len(line) <= LONGEST_LINE
        assert all(character == "\t" or character.isprintable() or ord(character) > 0x9F for character in line)
