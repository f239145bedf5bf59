"""Little output is gathered for a moment, so that it takes the agent and the host fewer steps."""

import asyncio
import os
import select
from collections.abc import Callable

import pytest

from vmsandbox_agent.streams.output import ProcessOutput

Timers = list[tuple[float, Callable[[], None]]]


async def some_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def take_timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    """The timers that are set from now on, which go off when the test calls them."""
    taken: Timers = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda *timer: taken.append(timer) or object())
    return taken


async def test_the_first_piece_goes_at_once_and_what_follows_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    timers, (source, sink) = take_timers(monkeypatch), os.pipe()
    output = ProcessOutput(source)
    ends = []
    for piece in (b"first", b"second", b"third"):
        os.write(sink, piece)
        await some_turns()
        ends.append(output.end)
    assert ends == [5, 5, 5]
    timers[0][1]()
    await some_turns()
    assert output.end == len(b"firstsecondthird")
    assert [seconds for seconds, _ in timers] == [0.001, 0.002], "longer, as it was little again"
    output.cut()
    os.close(sink)


async def test_a_program_that_fills_the_pipe_meanwhile_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    timers, (source, sink) = take_timers(monkeypatch), os.pipe()
    output = ProcessOutput(source)
    os.write(sink, b"little")
    await some_turns()
    os.write(sink, bytes(60_000))
    timers[0][1]()
    await some_turns()
    os.write(sink, b"little")
    await some_turns()
    assert output.end == 60_012
    assert [seconds for seconds, _ in timers] == [0.001, 0.001], "as short as at first"
    os.close(sink)
    timers[1][1]()
    await some_turns()
    await output.drain(None)


async def test_the_output_of_a_terminal_is_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    timers, (master, node) = take_timers(monkeypatch), os.openpty()
    output = ProcessOutput(master)
    for end in (1, 2):
        os.write(node, b"x")
        select.select([master], [], [])
        await some_turns()
        assert output.end == end
    assert not timers
    output.cut()
    os.close(node)
