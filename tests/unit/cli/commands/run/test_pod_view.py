"""The output of `run`: long lines in one piece, and each line with its container's name."""

import contextlib
import io
from dataclasses import replace

import pytest

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.run.pod_view import LineWriter, PodView
from vmsandbox.errors import NotFound
from vmsandbox.model import ContainerConfig, ContainerMetadata, ContainerState, ContainerStatus
from vmsandbox.pod.run.observer import OutputLine
from vmsandbox.protocol.messages import Stream


def part(container: str, text: bytes, stream: Stream = Stream.STDOUT) -> OutputLine:
    return OutputLine(container, stream, text, complete=False)


def line(container: str, text: bytes) -> OutputLine:
    return OutputLine(container, Stream.STDOUT, text)


async def test_a_line_that_comes_in_parts_is_one_line() -> None:
    target = io.BytesIO()
    writer = LineWriter(target)
    await writer.write(b"a | ", [part("a", b"x" * 10), part("a", b"y" * 10)])
    await writer.write(b"a | ", [line("a", b"z"), line("a", b"next")])
    assert target.getvalue() == b"a | " + b"x" * 10 + b"y" * 10 + b"z\na | next\n"


async def test_a_line_of_another_container_begins_anew() -> None:
    target = io.BytesIO()
    writer = LineWriter(target)
    await writer.write(b"a | ", [part("a", b"begun")])
    await writer.write(b"b | ", [line("b", b"between")])
    await writer.write(b"a | ", [line("a", b"and ended")])
    assert target.getvalue() == b"a | begun\nb | between\na | and ended\n"


async def test_what_a_container_prints_after_a_restart_does_not_continue_its_last_line() -> None:
    target = io.BytesIO()
    writer = LineWriter(target)
    await writer.write(b"a | ", [part("a", b"died")])
    writer.ended("b")
    writer.ended("a")
    await writer.write(b"a | ", [line("a", b"again")])
    assert target.getvalue() == b"a | died\na | again\n"


async def test_the_last_line_is_ended() -> None:
    target = io.BytesIO()
    writer = LineWriter(target)
    writer.close()
    await writer.write(b"a | ", [part("a", b"no end")])
    writer.close()
    assert target.getvalue() == b"a | no end\n"


class Screen(terminal.Output):
    is_terminal = True
    draws = True


async def shown_on(screen: terminal.Output, *lines: OutputLine) -> bytes:
    target = io.BytesIO()
    writer = LineWriter(target, screen)
    await writer.write(b"a | ", lines)
    return target.getvalue()


async def test_a_terminal_is_not_asked_where_its_cursor_is() -> None:
    assert await shown_on(Screen("stdout"), line("a", b"\x1b[6n")) == b"a | ^[[6n\n"


async def test_a_containers_colours_end_with_its_line() -> None:
    shown = await shown_on(Screen("stdout"), line("a", b"\x1b[31mred"), line("a", b"plain"))
    assert shown == b"a | \x1b[31mred\x1b[0m\na | plain\n"


async def test_a_line_cannot_overwrite_its_prefix() -> None:
    assert await shown_on(Screen("stdout"), line("a", b"x\rb | y\r")) == b"a | x^Mb | y\n"


@pytest.mark.parametrize(("failed", "told"), [(False, ["Starting the virtual machine: done, 0 s"]), (True, [])])
def test_a_step_that_has_failed_is_not_called_done(monkeypatch, capfd, failed, told) -> None:
    monkeypatch.setattr(terminal, "_QUIET", 0.0)
    with contextlib.suppress(NotFound), PodView(("a",), timings=False) as view:
        view.sandbox_starting()
        if failed:
            raise NotFound("the machine is gone")
    assert [line for line in capfd.readouterr().err.splitlines() if "done" in line] == told


async def test_what_is_not_a_terminal_gets_the_bytes() -> None:
    assert await shown_on(terminal.Output("stdout"), line("a", b"\x1b[6n\xff")) == b"a | \x1b[6n\xff\n"


async def test_a_pod_goes_to_the_background_when_each_container_has_begun() -> None:
    left: list[str] = []
    config = ContainerConfig(ContainerMetadata("any"), "image")
    status = ContainerStatus("id", "pod", config, ContainerState.RUNNING, 1, "image", "image")
    view = PodView(("init", "a", "b"), timings=False, bare=True, on_started=lambda: left.append("left"))
    view.container_started("init", status)
    view.container_ended("init", replace(status, reason="Completed"))
    view.container_started("a", status)
    assert left == []
    view.container_ended("b", replace(status, reason="Completed"))
    assert left == ["left"]
