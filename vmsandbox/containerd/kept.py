"""The directories of what is kept: one for each namespace of containerd, and an entry in it for each id."""

from collections.abc import Iterator
from pathlib import Path

from vmsandbox.errors import AlreadyExists, InvalidArgument
from vmsandbox.oci_command.errors import CommandError, InvalidId
from vmsandbox.oci_command.store import Entry, Store


def claim(directory: Path, namespace: str, name: str) -> Entry:
    """Make the entry of a new id.

    Raises:
        InvalidArgument: the id is not valid.
        AlreadyExists: it is taken.
    """
    try:
        return Store(str(directory / namespace)).claim(name)
    except InvalidId as error:
        raise InvalidArgument(str(error)) from None
    except CommandError as error:
        raise AlreadyExists(str(error)) from None


def every_entry(directory: Path) -> Iterator[tuple[str, Entry]]:
    """Yield each entry with its namespace."""
    for namespace in sorted(path.name for path in directory.glob("*/")):
        for entry in Store(str(directory / namespace)).all():
            yield namespace, entry
