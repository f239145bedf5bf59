"""The code of the methods that `dataclasses` generates, compiled when the guest image is built.

`dataclasses` writes the methods of every class as text, which Python compiles at each start: a third of the agent's
(guest-image/README.md). The image has that code beside this module, by a hash of its text. A text that is not there is
compiled as ever, so that this decides how long the start takes and nothing else.
"""

import builtins
import contextlib
import dataclasses
import hashlib
import marshal
from collections.abc import Iterator
from pathlib import PurePath
from types import CodeType
from typing import Any

FILE = "dataclass_code.bin"
_NO_REFERENCES = 2
"""A version of the format whose bytes depend on the code alone, not on which of its objects Python shares."""


def _packed() -> dict[bytes, CodeType]:
    """Nothing where the agent runs from its sources."""
    if __spec__.loader is not None:
        with contextlib.suppress(OSError, AttributeError):
            content = __spec__.loader.get_data(str(PurePath(__file__).with_name(FILE)))  # type: ignore[attr-defined]
            return dict(marshal.loads(content))  # noqa: S302  (It is part of the agent.)
    return {}


CODE = _packed()
"""The code by the hash of its text."""


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Have classes that are made meanwhile take the code of their methods from `CODE`, which gets what it lacks."""

    def execute(text: str, *arguments: Any) -> None:
        key = hashlib.sha256(text.encode()).digest()
        if key not in CODE:
            CODE[key] = compile(text, "<string>", "exec", dont_inherit=True)
        builtins.exec(CODE[key], *arguments)  # noqa: S102  (as dataclasses does)

    vars(dataclasses)["exec"] = execute  # found before the builtin
    try:
        yield
    finally:
        del vars(dataclasses)["exec"]


def dump() -> bytes:
    """Return the content of FILE."""
    return marshal.dumps(CODE, _NO_REFERENCES)
