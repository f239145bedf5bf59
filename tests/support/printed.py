"""Compare the output that a page shows with what the command prints: the form counts, not the figures."""

import re
from collections.abc import Sequence

_FORMS = (
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?", "TIME"),
    (r"\b\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "ID"),
    (r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b", "ID"),
    (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "ADDRESS"),
    (r"\b[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*)?", "ADDRESS"),
    (r"\b\d+(?:\.\d+)? ?(?:B|[kKMGT]i?B?)\b", "SIZE"),
    (r"\b\d+(?:\.\d+)?%", "SHARE"),
    (r"\b(?:\d+(?:\.\d+)?(?:ms|[smhd]))+\b", "TIME"),
    (r"\b\d+(?:\.\d+)? (?:s|seconds?|minutes?)\b", "TIME"),
    (r"\b\d+\.\d+(?:\.\d+)*\S*", "NUMBER"),
    (r"[-─━═]{3,}", "LINE"),
)


def form(line: str) -> str:
    """Return a line with words in place of ids, times, sizes and addresses, and one blank where there are several."""
    for pattern, word in _FORMS:
        line = re.sub(pattern, word, line)
    return " ".join(line.split())


def differences(shown: Sequence[str], printed: str) -> list[str]:
    """Return the lines that a page shows and a command does not print in that order.

    A line `...` may be any lines, and `...` at the end of a line may be anything.
    """
    rest = iter([form(line) for line in printed.splitlines()])
    wanted = [form(line) for line in shown if line.strip() and line.strip() != "..."]
    return [line for line in wanted if not any(_is_like(line, found) for found in rest)]


def _is_like(wanted: str, found: str) -> bool:
    beginning = wanted.removesuffix("...")
    return found == wanted or (beginning != wanted and found.startswith(beginning.rstrip()))
