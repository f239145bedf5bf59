"""Log lines, byte by byte."""

import asyncio
import json
import logging
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.errors import Unavailable
from vmsandbox.log import FORMATS, Subject, about, current_request, of_error, within
from vmsandbox.log.formats import escaped

POD = Subject("4f2a", "web", "default", "0a1b-2c3d")
CONTAINER = Subject("4f2a", "web", "default", "0a1b-2c3d", "77aa", "nginx")


def record(message: str, *arguments: object, level: int = logging.INFO, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("vmsandbox.pods", level, "pods.py", 1, message, arguments, None)
    made.__dict__.update({"created": 1764345600.25, "msecs": 250.0, **attributes})
    return made


def lines(form: str, made: logging.LogRecord, *, journal: bool = False) -> list[str]:
    return FORMATS[form](journal=journal).format(made).split("\n")


def broken() -> Unavailable:
    error = Unavailable("the machine is gone", hint="run it again", evidence={"console": "line 1\n\x1b[6nline 2\n"})
    return error.at("taking back")


def test_text_has_a_time_where_it_does_not_go_to_the_journal() -> None:
    (line,) = lines("text", record("pod %s is ready", "web"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,250 INFO pods: pod web is ready", line)


@pytest.mark.parametrize(
    ("level", "priority"), [("DEBUG", 7), ("INFO", 6), ("WARNING", 4), ("ERROR", 3), ("CRITICAL", 2)]
)
def test_a_line_for_the_journal_has_a_priority_and_no_time(level: str, priority: int) -> None:
    made = record("ready", level=getattr(logging, level))
    assert lines("text", made, journal=True) == [f"<{priority}>pods: ready"]


def test_the_evidence_of_an_error_follows_indented_with_the_same_priority() -> None:
    error = broken()
    made = record("pod web: %s", error, level=logging.ERROR, **of_error(error))
    assert lines("text", made, journal=True) == [
        "<3>pods: pod web: taking back: the machine is gone",
        "<3>  console:",
        "<3>    line 1",
        "<3>    \\x1b[6nline 2",
        "<3>  try: run it again",
    ]


def test_an_exception_has_its_traceback() -> None:
    try:
        raise ValueError("x")
    except ValueError as error:
        made = record("failed", level=logging.ERROR, exc_info=(type(error), error, error.__traceback__))
    told = lines("text", made, journal=True)
    assert told[:3] == ["<3>pods: failed", "<3>  traceback:", "<3>    Traceback (most recent call last):"]
    assert told[-1] == "<3>    ValueError: x"
    assert json.loads(lines("json", made)[0])["error"]["evidence"]["traceback"].endswith("ValueError: x\n")


def test_json_is_one_object_a_line() -> None:
    assert lines("json", record("pod %s is ready", "web")) == [
        '{"time": "2025-11-28T16:00:00.250Z", "level": "info", "logger": "vmsandbox.pods", '
        '"message": "pod web is ready"}'
    ]


def test_json_names_pod_container_and_the_parts_of_an_error() -> None:
    error = broken()
    with about(CONTAINER):
        (line,) = lines("json", record("x", level=logging.WARNING, **of_error(error)))
    told = json.loads(line)
    assert told["pod"] == {"id": "4f2a", "name": "web", "namespace": "default", "uid": "0a1b-2c3d"}
    assert told["container"] == {"id": "77aa", "name": "nginx"}
    assert told["error"] == {
        "message": "the machine is gone",
        "step": "taking back",
        "hint": "run it again",
        "evidence": {"console": "line 1\n\x1b[6nline 2\n"},
    }
    assert "\x1b" not in line


def test_json_for_the_journal_keeps_the_priority_before_the_object() -> None:
    with about(POD):
        (line,) = lines("json", record("x"), journal=True)
    assert line.startswith("<6>{")
    assert "container" not in json.loads(line[3:])


def test_text_of_a_guest_cannot_begin_a_line() -> None:
    made = record("exec: %s", "no such\n<0>vmsandbox: all is lost\r\x1b[2J\u202egnp")
    assert lines("text", made, journal=True) == [
        "<6>pods: exec: no such\\n<0>vmsandbox: all is lost\\r\\x1b[2J\\u202egnp"
    ]


def test_a_line_is_bounded() -> None:
    (line,) = lines("text", record("%s", "x" * 10_000), journal=True)
    assert line.endswith("x… (1808 more)")
    assert len(line) < 8300


def test_messages_that_were_left_out_are_counted() -> None:
    assert lines("text", record("x", left_out=3), journal=True) == ["<6>pods: x (3 more like this were left out)"]


@given(st.text(), st.sampled_from(["text", "json"]))
def test_any_text_is_one_line_without_control_characters(text: str, form: str) -> None:
    (line,) = lines(form, record("%s", text))
    assert line.splitlines() == [line]
    assert all(unicodedata.category(character) != "Cc" for character in line)
    line.encode()


def test_ordinary_text_is_as_it_was() -> None:
    assert escaped("Grüße, 世界: C:\\n 100%") == "Grüße, 世界: C:\\n 100%"


def test_json_names_the_call_and_its_trace_until_the_call_has_ended() -> None:
    with within("RunPodSandbox") as call:
        call.trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        told = json.loads(*lines("json", record("ready")))["request"]
        assert told == {"id": call.id, "method": "RunPodSandbox", "trace": call.trace}
        assert re.fullmatch("[0-9a-f]{8}", call.id)
        (text,) = lines("text", record("ready"), journal=True)
        assert text == "<6>pods: ready"
    assert "request" not in json.loads(*lines("json", record("ready")))


async def test_a_task_that_outlives_its_call_is_not_part_of_it_any_more() -> None:
    ended = asyncio.Event()

    async def session() -> tuple[bool, bool]:
        before = current_request() is not None
        await ended.wait()
        return before, current_request() is not None

    with within("RunPodSandbox"):
        task = asyncio.create_task(session())
        await asyncio.sleep(0)
    ended.set()
    assert await task == (True, False)
