"""Ids as people and crictl write them: whole, or a beginning that only one has."""

from collections.abc import Iterable, Mapping

from vmsandbox.errors import InvalidArgument


def resolve(text: str, ids: Iterable[str], kind: str) -> str:
    """The id that begins with `text`; `text` itself where none does, which is unknown then.

    Raises:
        InvalidArgument: it is empty, or several ids begin with it.
    """
    if not text:
        raise InvalidArgument(f"no {kind} id was given")
    found = [candidate for candidate in ids if candidate.startswith(text)]
    if len(found) > 1 and text not in found:
        raise InvalidArgument(f"{len(found)} {kind} ids begin with {text}", hint="give more characters of it")
    return found[0] if len(found) == 1 else text


def has_labels(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether all of the selector's labels are there with their values (CRI `label_selector`)."""
    return all(labels.get(key) == value for key, value in selector.items())
