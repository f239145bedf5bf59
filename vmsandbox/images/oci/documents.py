"""Reading JSON that an image or a registry made: bounded, and every value checked before it is used."""

import hashlib
import json
from typing import Any, TypeVar

from vmsandbox.errors import Internal, InvalidArgument
from vmsandbox.images.oci.reference import DIGEST

MAX_DOCUMENT = 4 << 20
"""Bytes a manifest, an index or a configuration may have; the limit that registries and clients share."""

T = TypeVar("T")


class Malformed(InvalidArgument):
    """A document of an image does not have the form that the OCI image-spec gives it."""


def digest_of(data: bytes) -> str:
    """The digest by which content is named (OCI image-spec, descriptor)."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_digest(data: bytes, expected: str, what: str) -> bytes:
    """The data, when it is what its digest says.

    Raises:
        Internal: it is something else.
    """
    if digest_of(data) != expected:
        raise Internal(
            f"{what} has the digest {digest_of(data)}, not {expected}",
            hint="the registry or the archive is damaged; push or save the image again",
        )
    return data


def load_json(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `data`.

    Raises:
        Malformed: it is too large, no JSON, or no object.
    """
    if len(data) > MAX_DOCUMENT:
        raise Malformed(f"{what} is larger than {MAX_DOCUMENT >> 20} MiB")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what} is not JSON: {str(error)[:100]}") from None
    return checked(value, dict, what)


def checked(value: object, kind: type[T], what: str) -> T:
    """The value, when it is of this type.

    Raises:
        Malformed: it is of another.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(f"{what} is {type(value).__name__}, not {kind.__name__}")
    return value


def member(document: dict[str, Any], key: str, kind: type[T], what: str) -> T:
    """A member of an object; missing or null stands for the type's empty value.

    Raises:
        Malformed: it is of another type.
    """
    value = document.get(key)
    return kind() if value is None else checked(value, kind, f"{key} in {what}")


def text(value: object, what: str) -> str:
    """A string that may become an argument or an environment variable: no NUL, encodable.

    Raises:
        Malformed: it is not valid.
    """
    string = checked(value, str, what)
    if "\0" in string or any("\ud800" <= c <= "\udfff" for c in string):
        raise Malformed(f"{what} holds a NUL or half a surrogate pair")
    return string


def texts(document: dict[str, Any], key: str, what: str) -> tuple[str, ...]:
    """A list of strings; missing or null is empty.

    Raises:
        Malformed: it is something else.
    """
    return tuple(text(item, f"an element of {key} in {what}") for item in member(document, key, list, what))


def digest(value: object, what: str) -> str:
    """A digest; only sha256 is in use.

    Raises:
        Malformed: it is something else.
    """
    string = checked(value, str, what)
    if not DIGEST.fullmatch(string):
        raise Malformed(f"{what} is {string[:80]!r}, not a sha256 digest")
    return string
