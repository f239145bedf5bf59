"""Names in a layer: bytes, taken from the root of the tree, wherever they want to lead."""

from vmsandbox.images.oci import Malformed

MAX_PATH = 4095
_MAX_NAME = 255


def path_components(path: bytes) -> list[bytes]:
    """The components of a name, taken from the root: `..` goes up, and stays where there is no more up."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def quoted_name(name: bytes) -> str:
    """A name for an error's text."""
    return repr(name[:200].decode(errors="replace"))


def check_name(name: bytes) -> None:
    """Refuse a component that Linux cannot have.

    Raises:
        Malformed: it is too long.
    """
    if len(name) > _MAX_NAME:
        raise Malformed(f"the name {quoted_name(name)} is longer than {_MAX_NAME} bytes")
