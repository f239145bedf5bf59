"""The terminal of a person: no control character of a guest's, and none of ours where it is not wanted."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.cli import terminal
from vmsandbox.cli.control import Filter, visible


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    shown = Screen()
    monkeypatch.setattr(terminal.Output, "file", shown)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return shown


HOSTILE = "web\x1b[6n\x9b6n\x07\u202egnp.exe"
HARMLESS = "web^[[6n\\x9b6n^G\\u202egnp.exe"


@pytest.mark.parametrize("write", [terminal.result, terminal.note, terminal.warning, terminal.error])
def test_controls_in_messages_are_shown(screen, write):
    write(HOSTILE)
    assert HARMLESS in screen.getvalue()
    assert "6n\x07" not in screen.getvalue()


def test_controls_in_lists_are_shown_and_the_columns_stay(screen):
    terminal.table(("NAME", "STATE"), [(HOSTILE, "Ready"), ("two\nlines", "Ready")])
    lines = screen.getvalue().splitlines()
    assert lines[0].startswith("\x1b[1mNAME")
    assert lines[1].startswith(f"{HARMLESS}   Ready")
    assert lines[2].split() == ["two", "lines", "Ready"]


def test_evidence_keeps_its_lines(screen):
    terminal.error("it died\nconsole:\n\tlast\x1bc")
    assert screen.getvalue() == "\x1b[1;31merror:\x1b[0m it died\nconsole:\n\tlast^[c\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_is_dumb_or_without_colours_gets_no_sequence(screen, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    terminal.table(("NAME",), [("web",)])
    terminal.error("no")
    with terminal.step("Pulling"):
        pass
    assert "\x1b" not in screen.getvalue()


def test_what_is_not_a_terminal_gets_the_text_and_no_sequence(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(terminal.Output, "file", shown)
    terminal.table(("NAME",), [("web",)])
    terminal.result(HOSTILE)
    assert shown.getvalue() == f"NAME\nweb\n{HOSTILE}\n"


def filtered(*pieces: bytes, colours: bool = True, returns: bool = True) -> str:
    stream = Filter(colours=colours, returns=returns)
    return "".join(stream.feed(piece, final=number == len(pieces) - 1) for number, piece in enumerate(pieces))


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ((b"\xe2\x82", b"\xac"), "\u20ac"),
        ((b"\xff\xc3(", b""), "\ufffd\ufffd("),
        ((b"\xe2\x82",), "\ufffd"),
        ((b"\x1b[3", b"2mgreen\x1b[", b"0m"), "\x1b[32mgreen\x1b[0m"),
        ((b"\x1b[", b"6n"), "^[[6n"),
        ((b"\x1b",), "^["),
        ((b"\x1b]0;title\x07",), "^[]0;title^G"),
        ((b"50%\r100%\r",), "50%\r100%"),
        ((b"\x1b[31mred",), "\x1b[31mred\x1b[0m"),
    ],
)
def test_a_guests_stream_is_made_fit_for_a_terminal(pieces, shown):
    assert filtered(*pieces) == shown


def test_colours_are_left_out_where_they_are_not_wanted():
    assert filtered(b"\x1b[31mred\x1b[m", colours=False) == "red"


@given(st.binary(max_size=200), st.integers(0, 200))
def test_nothing_but_colours_reaches_a_terminal(data, cut):
    shown = filtered(data[:cut], data[cut:], returns=False)
    assert visible(shown.replace("\x1b[", "")) == shown.replace("\x1b[", "")
    assert filtered(data, returns=False) == shown


def test_a_step_within_a_step_is_a_line(screen):
    with terminal.step("Outer"), terminal.step("Inner") as update:
        update("part", 1, 2)
    assert "Inner\n" in screen.getvalue()


def test_a_step_is_drawn_again_after_one_that_failed(screen):
    for _ in range(2):
        with pytest.raises(ValueError, match="it"), terminal.step("Outer"):
            raise ValueError("it")
    assert "Outer\n" not in screen.getvalue()
