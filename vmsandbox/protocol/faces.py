"""Faces of packages that import a module when a name of it is first asked for (PEP 562).

A command of the command line needs a few of the messages and of the model's classes, and making a dataclass takes half
a millisecond. The face of such a package imports its names under `TYPE_CHECKING`, for mypy, and has `__getattr__` from
here. tests/unit/test_faces.py compares the two.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any


def face(package: str, **names: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package.

    Args:
        package: its `__name__`.
        names: for each module of it, the names that it gives, separated by spaces.
    """
    homes = {name: module for module, listed in names.items() for name in listed.split()}

    def find(name: str) -> Any:
        if (home := homes.get(name)) is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{package}.{home}"), name)
        setattr(sys.modules[package], name, found)  # next time it is found there
        return found

    return find
