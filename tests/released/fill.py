"""Run with a commit's `vmsandbox` in PYTHONPATH: prints its records, full and least, as its State would write them.

Nothing but names that all versions have is used here, so that it runs with each.
"""

import dataclasses
import enum
import json
import sqlite3
import sys
import tempfile
import types
import typing
from pathlib import Path

TEXTS = {
    "id": "0123456789abcdef0123456789abcdef",
    "sandbox_id": "fedcba9876543210fedcba9876543210",
    "secret": "5e" * 32,
    "mac": "0a:58:0a:69:00:02",
    "addresses": "10.105.0.2/16",
    "destination": "0.0.0.0/0",
    "gateway": "10.105.0.1",
    "permissions": "rw",
}


def fill(hint: typing.Any, name: str, *, least: bool) -> typing.Any:
    """A value of an annotation; of a dataclass all fields, or those without a default."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return fill(arguments[0], name, least=least)
    if origin in (typing.Union, types.UnionType):
        return fill(next(each for each in arguments if each is not type(None)), name, least=least)
    if origin is tuple:
        return () if least else (fill(arguments[0], name, least=least),)
    if origin is dict:
        return {} if least else {"key": fill(arguments[1], name, least=least)}
    if dataclasses.is_dataclass(hint):
        return hint(**{key: fill(each, key, least=least) for key, each in _fields(hint, least).items()})
    if issubclass(hint, enum.Enum):
        return list(hint)[-1]
    if issubclass(hint, Path):
        return str(hint("/path"))
    return {str: TEXTS.get(name, name), int: 7, float: 1.5, bool: True}[hint]


def _fields(kind: type, least: bool) -> dict[str, typing.Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(kind)
        if not least or (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
    }


def main() -> None:
    """Use the classes of this version, or those before vmsandbox.state was a package."""
    try:
        from vmsandbox.state import ContainerRecord, SandboxRecord, State
    except ImportError:
        from vmsandbox.sandbox.records import ContainerRecord, SandboxRecord

        from vmsandbox.state import State
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.db"
        written: dict[str, typing.Any] = {}
        for name, least in (("full", False), ("least", True)):
            state = State(path)
            for kind in (SandboxRecord, ContainerRecord):
                state.put(TEXTS["id"], fill(kind, "", least=least))
            state.close()
            database = sqlite3.connect(path)
            for kind_name, body in database.execute("SELECT kind, body FROM record"):
                written.setdefault(kind_name, {})[name] = json.loads(body)
            (written["schema"],) = database.execute("PRAGMA user_version").fetchone()
            database.close()
    json.dump(written, sys.stdout)


main()
