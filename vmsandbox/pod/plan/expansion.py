"""$(NAME) in commands, arguments, values of variables and sub-paths, as Kubernetes expands it.

`$$` is a dollar sign; a name that is not known, and a reference that is not closed, stay as they are written.
"""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with its references to `values` replaced; what a value holds is not expanded again."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else values.get(name, match[0])

    return _REFERENCE.sub(replaced, text)


def unknown_names(text: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """The names that `text` refers to and `values` does not have, in their order."""
    names = (match[1] for match in _REFERENCE.finditer(text) if match[1] is not None)
    return tuple(name for name in names if name not in values)
