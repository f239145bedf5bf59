"""Text that a guest wrote, made fit for terminals, logs and one-line errors. The guest is hostile."""

import unicodedata

from vmsandbox.errors import VmsandboxError, error_of_code

TEXT_LIMIT = 4 * 1024
"""Characters kept of a text from the guest."""


def printable(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text` with at most `limit` characters, where nothing but line breaks and tabs steers a terminal."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return "".join(_visible(character) for character in cut)


def first_line(text: str, limit: int = 300) -> str:
    """The first line of `text` that says something, bounded and printable."""
    lines = (line.strip() for line in printable(text).splitlines())
    line = next((line for line in lines if line), "")
    return line if len(line) <= limit else line[:limit] + "…"


def _visible(character: str) -> str:
    """Control, format (such as bidirectional overrides), surrogate and unassigned characters become U+FFFD."""
    if character in "\n\t" or not unicodedata.category(character).startswith("C"):
        return character
    return "\N{REPLACEMENT CHARACTER}"


def error_from_guest(code: str, text: object) -> VmsandboxError:
    """The agent's error as one of ours: its first line is the message, all of it the evidence.

    Args:
        code: of the error tree; one that nobody knows makes an `Internal`.
        text: what the agent said; a command's stderr may follow its first line.
    """
    whole = printable(text).strip() if isinstance(text, str) else ""
    line = first_line(whole) or "the agent gave no reason"
    return error_of_code(code)(line, evidence={"guest": whole} if whole not in ("", line) else None)
