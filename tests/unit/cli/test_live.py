"""stats and top on a terminal: drawn again and again, sorted and ended by keys, whatever guests have chosen in them."""

import contextlib
import os
import signal

import pytest

from tests.support.terminal import AtTerminal
from vmsandbox.cli.commands.live import LiveTable
from vmsandbox.cli.commands.pods.top import _kibibytes
from vmsandbox.model import ExecResult

PS = b"""USER PID PPID TT RSS STAT COMMAND
root 1 0 ? 512 S /bin/server
web 7 1 ? 4m S evil \x1b]0;title\x07\x1b[6n
root 9 1 ? 100 S sleep 9
"""


@pytest.fixture
def at_terminal(vmsandbox):
    vmsandbox.container(vmsandbox.pod("web"), "server")
    vmsandbox.container(vmsandbox.pod("database"), "engine")
    with contextlib.ExitStack() as stack:

        def begin(*words, columns=120):
            environment = {"VMSANDBOX_CONFIG": str(vmsandbox.directory / "config.yaml")}
            begun = AtTerminal(list(words), environment, columns)
            stack.callback(os.close, begun.fd)
            stack.callback(begun.close)
            return begun

        yield begin


def test_stats_are_drawn_again_sorted_by_keys_and_ended_by_q(at_terminal):
    stats = at_terminal("stats")
    first = stats.until("q quit")
    assert first.index("database/engine") < first.index("web/server")
    assert "by name;" in first
    assert not stats.echoes()
    stats.until("q quit")  # the next reading
    stats.type("m")
    stats.until("by memory;")
    stats.type("q")
    assert stats.ended() == 0
    assert stats.drawn.count(b"\x1b[?1049h") == stats.drawn.count(b"\x1b[?1049l") == 1
    assert stats.echoes()


def test_ctrl_c_ends_stats_and_gives_the_terminal_back(at_terminal):
    stats = at_terminal("stats", "web")
    assert "database" not in stats.until("q quit")
    stats.type("\x1a")  # Ctrl-Z would leave the terminal as it is now
    stats.until("q quit")
    stats.type("\x03")
    assert stats.ended() == 128 + signal.SIGINT
    assert stats.echoes()


def test_stats_follow_the_size_of_the_terminal(at_terminal):
    stats = at_terminal("stats")
    assert "PIDS" in stats.until("q quit")
    stats.resize(40)
    stats.until("q quit")
    longest = max(map(len, stats.until("q quit").splitlines()))
    assert longest <= 40


def test_top_obeys_nothing_of_a_guest(at_terminal, vmsandbox):
    async def exec_sync(*_):
        return ExecResult(PS, b"", 0)

    vmsandbox.served.runtime.exec_sync = exec_sync
    top = at_terminal("top", "web")
    shown = top.until("q quit")
    assert "^[]0;title^G^[[6n" in shown
    assert shown.index("/bin/server") < shown.index("evil") < shown.index("sleep 9")
    top.type("m")
    shown = top.until("by memory;")
    assert shown.index("evil") < shown.index("/bin/server") < shown.index("sleep 9")
    top.type("q")
    assert top.ended() == 0
    assert b"\x1b[6n" not in top.drawn
    assert b"\x1b]0;title" not in top.drawn


def test_a_size_is_read_as_each_ps_prints_it():
    assert [_kibibytes(text) for text in ("512", "4m", "1.5g", "?", "")] == [512, 4096, 1.5 * 2**20, 0, 0]


def test_rows_that_do_not_fit_are_left_out():
    drawn = []

    class Live:
        class console:
            class size:
                height = 5

        @staticmethod
        def update(table, *, refresh):
            drawn.append((table.row_count, table.caption))

    table = LiveTable(Live(), ["A"], {"a": "first", "b": "second"})
    table.draw(lambda order: [[order]] * 50)
    table.press("b")
    table.press("x")
    table.press("q")
    assert drawn == [(3, "by first; a first, b second, q quit"), (3, "by second; a first, b second, q quit")]
    assert table.ended
