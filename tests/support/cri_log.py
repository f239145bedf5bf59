"""Reading of logs in the CRI's format: RFC 3339 time, stream, P for a part of a line or F for its end, the text."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}(?:Z|[+-]\d\d:\d\d)) "
    r"(?P<stream>stdout|stderr) (?P<tag>[PF]) (?P<text>.*)"
)
"""An entry; containerd leaves out zeros at the end of a time."""


@dataclass(frozen=True)
class LogLine:
    """One entry. `text` ends in a newline unless it is part of a line that goes on in the next entry."""

    time: datetime
    stream: str
    full: bool
    text: str


def read_log(path: Path) -> list[LogLine]:
    """The entries of a log. Raises AssertionError where one is not of the format."""
    content = path.read_text()
    assert not content or content.endswith("\n"), f"the last entry of {path} is torn"
    return [_parse(line) for line in content.split("\n")[:-1]]


def _parse(line: str) -> LogLine:
    found = _LINE.fullmatch(line)
    assert found, f"not an entry of a CRI log: {line!r}"
    time = re.sub(r"\.(\d{6})\d+", r".\1", found["time"])
    full = found["tag"] == "F"
    return LogLine(datetime.fromisoformat(time), found["stream"], full, found["text"] + ("\n" if full else ""))
