"""The output of `run`: long lines in one piece, and each line with its container's name."""

import io

from vmsandbox.cli.commands.pod_view import LineWriter
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
