"""A log record as lines: text for people, or JSON for programs."""

import datetime
import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from typing_extensions import override

from vmsandbox.log.request import Request, current_request
from vmsandbox.log.subject import Subject, current

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""The priorities of sd-daemon(3), which are those of syslog(3)."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, other ends of lines, and what changes the direction of text."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_LONGEST = 8192
"""Characters of one line; what is longer is cut, as the journal would (LineMax=)."""


class Line(logging.Formatter):
    """The base of the formats: what a record says, whichever way it is written."""

    ERROR: ClassVar[str] = "error"
    """The attribute of a record that holds an error (`of_error`)."""

    def __init__(self, *, journal: bool) -> None:
        """Write lines for the journal, or for a file or a terminal."""
        super().__init__()
        self._journal = journal

    @override
    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._journal else ""
        return "\n".join(prefix + line for line in self.lines(record))

    def lines(self, record: logging.LogRecord) -> Iterator[str]:
        """The lines of a record, without their priorities."""
        raise NotImplementedError


class Text(Line):
    """A line of text, and indented lines of evidence."""

    @override
    def lines(self, record: logging.LogRecord) -> Iterator[str]:
        name = record.name.removeprefix("vmsandbox.")
        head = "" if self._journal else f"{self.formatTime(record)} {record.levelname} "
        yield f"{head}{name}: {_said(record)}"
        for title, text in _evidence(record).items():
            yield f"  {title}:"
            yield from (f"    {escaped(line)}" for line in text.rstrip().splitlines())
        if hint := getattr(_error(record), "hint", ""):
            yield f"  try: {escaped(hint)}"


class Json(Line):
    """An object of JSON (RFC 8259) on one line: time (RFC 3339), level, logger, message, and what is known besides."""

    @override
    def lines(self, record: logging.LogRecord) -> Iterator[str]:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        said: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _said(record),
        }
        said |= _subject(current()) | _request(current_request())
        if error := _told(record):
            said["error"] = error
        yield json.dumps(said)


FORMATS: dict[str, Callable[..., Line]] = {"text": Text, "json": Json}
"""The formats by their names in the configuration."""


def escaped(text: str) -> str:
    """Text on one line: control characters are written as Python writes them, \\n and \\x1b."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text) - _LONGEST} more)"
    return _CONTROL.sub(lambda found: _SHORT.get(found[0]) or _escape(ord(found[0])), cut)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _said(record: logging.LogRecord) -> str:
    left_out = getattr(record, "left_out", 0)
    return escaped(record.getMessage()) + (f" ({left_out} more like this were left out)" if left_out else "")


def _error(record: logging.LogRecord) -> BaseException | None:
    return getattr(record, Line.ERROR, None)


def _evidence(record: logging.LogRecord) -> dict[str, str]:
    found = dict(getattr(_error(record), "evidence", {}))
    if record.exc_info and record.exc_info[1] is not None:
        found["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
    return found


def _told(record: logging.LogRecord) -> dict[str, Any]:
    """An error for JSON; its text may have several lines, since JSON escapes them."""
    error, told = _error(record), {}
    if error is not None:
        told["message"] = getattr(error, "message", "") or str(error)
        told |= {"step": steps} if (steps := ": ".join(getattr(error, "context", ()))) else {}
        told |= {"hint": hint} if (hint := getattr(error, "hint", "")) else {}
    evidence = _evidence(record)
    return told | ({"evidence": evidence} if evidence else {})


def _request(request: Request | None) -> dict[str, Any]:
    if request is None:
        return {}
    told = {"id": request.id, "method": request.method, "trace": request.trace}
    return {"request": {key: value for key, value in told.items() if value}}


def _subject(subject: Subject | None) -> dict[str, Any]:
    if subject is None:
        return {}
    pod = {"id": subject.pod_id, "name": subject.name, "namespace": subject.namespace, "uid": subject.uid}
    container = {"id": subject.container_id, "name": subject.container}
    return {
        name: {key: value for key, value in known.items() if value}
        for name, known in (("pod", pod), ("container", container))
        if any(known.values())
    }
