"""Make the output of hosts safe for a terminal."""

import re

_STEERING = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)|[\x00-\x08\x0b-\x1f\x7f-\x9f]", re.S
)
"""Control sequences, and control characters except tab and newline."""
_MOST = 4096
"""Characters of a line that are kept."""
_CONCLUSION = re.compile(r"Exiting with failure status due to previous errors$|^make(\[\d+\])?: \*\*\* \[.* Error \d+$")
"""The last words of tar(1) and make(1), which say nothing."""


def plain(text: str) -> str:
    """The text without anything that steers a terminal: a host may not type into its user's shell."""
    return _STEERING.sub("", text)


class LastLine:
    """The last line that is not empty, of output that comes in pieces. A carriage return begins a line anew."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rest = ""
        self._last = ""

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        *lines, self._rest = re.split(r"[\r\n]+", (self._rest + piece.decode(errors="replace"))[-_MOST:])
        for line in filter(None, map(_tidy, lines)):
            self._last = line

    @property
    def text(self) -> str:
        """The line."""
        return _tidy(self._rest) or self._last


def _tidy(line: str) -> str:
    """The line; nothing for those with which tar(1) and make(1) end, after the line that says why."""
    tidy = plain(line).strip()
    return "" if _CONCLUSION.search(tidy) else tidy
