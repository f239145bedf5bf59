"""Control characters in text of guests: shown, not obeyed. A terminal answers some of them as if its user had typed.

The colours of a text (SGR, ECMA-48 8.3.117) are harmless, and may pass where a caller wants them.
"""

import codecs
import re

_SGR = re.compile(r"\x1b\[[0-9;:]{0,32}m")
_SGR_BEGUN = re.compile(r"\x1b(?:\[[0-9;:]{0,32})?\Z")

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
    the next. A carriage return passes: progress bars have it, and it stays on its line.
    """

    def __init__(self) -> None:
        """For one stream, from its beginning."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Return the text of the next piece for the terminal; `final` says that nothing follows."""
        text = self._begun + self._decoder.decode(data, final)
        cut = None if final else _SGR_BEGUN.search(text)
        self._begun = text[cut.start() :] if cut else ""
        return "".join(self._pieces(text[: cut.start()] if cut else text))

    def _pieces(self, text: str) -> list[str]:
        pieces, begin = [], 0
        for colour in _SGR.finditer(text):
            pieces += [text[begin : colour.start()].translate(_STREAM), colour[0]]
            begin = colour.end()
        return [*pieces, text[begin:].translate(_STREAM)]


_STREAM = _TEXT | {ord("\r"): "\r"}
