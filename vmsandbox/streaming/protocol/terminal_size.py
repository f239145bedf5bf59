"""The window's size on the resize stream: JSON objects one after the other (Kubernetes: TerminalSize)."""

import json
from dataclasses import dataclass

_LIMIT = 4096
"""Bytes that may wait for the end of an object."""
_LARGEST = 65535


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """A window, in characters."""

    columns: int
    rows: int

    def encode(self) -> bytes:
        """One object, as a client sends it."""
        return json.dumps({"Width": self.columns, "Height": self.rows}).encode() + b"\n"


class ResizeReader:
    """Reads sizes from the stream. After malformed bytes it reads no more, which does no harm."""

    def __init__(self) -> None:
        """Begin with an object."""
        self._text = ""
        self._broken = False

    def feed(self, data: bytes) -> list[TerminalSize]:
        """Return the sizes that `data` completes, without those of 0 columns or rows."""
        self._text = (self._text + data.decode("latin-1")).lstrip()
        sizes: list[TerminalSize] = []
        while self._text and not self._broken:
            try:
                body, end = json.JSONDecoder().raw_decode(self._text)
            except (ValueError, RecursionError):
                self._broken = not self._text.startswith("{") or len(self._text) > _LIMIT
                break
            self._text = self._text[end:].lstrip()
            sizes += self._sizes(body)
        if self._broken:
            self._text = ""
        return sizes

    def _sizes(self, body: object) -> list[TerminalSize]:
        if not isinstance(body, dict):
            self._broken = True
            return []
        columns, rows = _number(body.get("Width")), _number(body.get("Height"))
        return [TerminalSize(columns, rows)] if columns and rows else []


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST else 0
