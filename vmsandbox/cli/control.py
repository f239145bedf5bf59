"""Control characters in text of guests: shown, not obeyed. A terminal answers some of them as if its user had typed.

The colours of a text (SGR, ECMA-48 8.3.117) are harmless, and may pass where a caller wants them.
"""

import codecs
import re
from collections.abc import Iterator

RESET = "\x1b[0m"
_RESETS = ("\x1b[m", RESET)
_SGR = re.compile(r"\x1b\[[0-9;:]{0,32}m")
_BEGUN = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,32})?|\r)\Z")

_SHOWN = {
    **{code: f"^{chr(code ^ 0x40)}" for code in (*range(0x20), 0x7F)},
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    # Directions of writing: they let a text look like another (Unicode TR36).
    **{code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
_LINE = _SHOWN | {ord("\t"): "\t"}
_TEXT = _LINE | {ord("\n"): "\n"}


def visible(text: str) -> str:
    """The text with its control characters shown, as in `^[[6n`, except for tabs and ends of lines."""
    return text.translate(_TEXT)


class Filter:
    """Makes a stream of bytes fit for a terminal, piece by piece: UTF-8, its controls shown, colours passed.

    Bytes that are not UTF-8 are shown as U+FFFD. A character or a colour that is cut by the end of a piece waits for
    the next.
    """

    def __init__(self, *, colours: bool, returns: bool) -> None:
        """For one stream, from its beginning.

        Args:
            colours: whether colours pass; else they are left out. One that is in force at the end is ended there.
            returns: whether carriage returns pass, which progress bars have: where no prefix can be overwritten.
        """
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._colours = colours
        self._table = _TEXT | {ord("\r"): "\r"} if returns else _TEXT
        self._begun = ""
        self._coloured = False

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Return the text of the next piece for the terminal; `final` says that a line or the stream ends with it."""
        text = self._begun + self._decoder.decode(data, final)
        if final:
            text = text.removesuffix("\r")  # what a terminal of the container's ends its lines with
        cut = None if final else _BEGUN.search(text)
        self._begun = text[cut.start() :] if cut else ""
        shown = "".join(self._pieces(text[: cut.start()] if cut else text))
        if final and self._coloured:
            self._coloured = False
            shown += RESET
        return shown

    def _pieces(self, text: str) -> Iterator[str]:
        begin = 0
        for colour in _SGR.finditer(text):
            yield text[begin : colour.start()].translate(self._table)
            if self._colours:
                yield colour[0]
                self._coloured = colour[0] not in _RESETS
            begin = colour.end()
        yield text[begin:].translate(self._table)
