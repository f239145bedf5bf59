"""The schema of dataclasses in JSON: every place, its type and its default, to be pinned by a golden file.

The names of classes do not matter: they are neither on disk nor on the wire.
"""

import dataclasses
import enum
import json
import os
import types
import typing
from pathlib import Path
from typing import Any

from vmsandbox.protocol.codec import encode, hints

Schema = dict[str, str]
"""The type and the default of each field, and each value of an enumeration, by the place."""

VALUE = "a value"


def schema_of(where: str, hint: Any, default: str = "") -> Schema:
    """Return the schema at one place, and below it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        bounds = ", ".join(map(str, arguments[1:]))
        return schema_of(where, arguments[0], f" within {bounds}{default}")
    if origin in (typing.Union, types.UnionType):
        return schema_of(where, next(each for each in arguments if each is not type(None)), f" or null{default}")
    if origin is tuple:
        return {where: f"list{default}", **schema_of(f"{where}[]", arguments[0])}
    if origin is dict:
        return {where: f"dict of {_name(arguments[0])}{default}", **schema_of(f"{where}{{}}", arguments[1])}
    if hint is not Any and issubclass(hint, enum.Enum):
        return {where: f"enumeration{default}", **{f"{where}={each.value}": VALUE for each in hint}}
    if dataclasses.is_dataclass(hint):
        inner = (_field(where, hints(typing.cast(type, hint))[field.name], field) for field in dataclasses.fields(hint))
        return {where: f"object{default}", **{place: told for each in inner for place, told in each.items()}}
    return {where: f"{_name(hint)}{default}"}


def _name(hint: Any) -> str:
    return "anything" if hint is Any else str(getattr(hint, "__name__", hint))


def _field(where: str, hint: Any, field: "dataclasses.Field[Any]") -> Schema:
    if field.default is not dataclasses.MISSING:
        default = f" = {json.dumps(encode(field.default))}"
    else:
        default = "" if field.default_factory is dataclasses.MISSING else " = new"
    return schema_of(f"{where}.{field.name}", hint, default)


def changed(before: Schema, after: Schema) -> list[str]:
    """Yield the entries that are missing or different."""
    return [
        f"{where} was {told!r}, and is {after.get(where)!r}"
        for where, told in before.items()
        if after.get(where) != told
    ]


def new_fields(before: Schema, after: Schema) -> Schema:
    """The fields that were added to objects that were there before."""
    return {
        where: told
        for where, told in after.items()
        if where not in before and where.rpartition(".")[0] in before
        if told != VALUE and not where.endswith(("[]", "{}"))
    }


def assert_pinned(golden: Path, after: Schema) -> None:
    """Fail unless the golden file holds exactly this schema; `UPDATE_GOLDEN=1` writes it."""
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(json.dumps(after, indent=1) + "\n")
    assert after == read(golden), f"what was added has to be kept from now on: UPDATE_GOLDEN=1 writes it to {golden}"


def read(golden: Path) -> Schema:
    """The schema of a golden file; empty where there is none."""
    return json.loads(golden.read_text()) if golden.exists() else {}
