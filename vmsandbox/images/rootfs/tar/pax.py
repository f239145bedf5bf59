"""PAX extended headers (POSIX.1-2001), with what star (xattrs) and GNU tar (sparse files) keep in them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vmsandbox.images.oci import Malformed

XATTR = b"SCHILY.xattr."
_OFFSET, _LENGTH, _MAP = b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"GNU.sparse.map"
_LENGTH_DIGITS = 10
_KEPT = frozenset({b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime"})
_KEPT_BEGINNINGS = (XATTR, b"GNU.sparse.")


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """The records of one extended header that say something here; the last of a key counts.

    The pieces of a sparse file in GNU's format 0.0, which repeats keys, are given as `GNU.sparse.map`.

    Raises:
        Malformed: it has another form.
    """
    records: dict[bytes, bytes] = {}
    pieces = []
    for key, value in _each(data):
        if key in (_OFFSET, _LENGTH):
            pieces.append(value)
        elif key in _KEPT or key.startswith(_KEPT_BEGINNINGS):
            records[key] = value
    if pieces:
        records[_MAP] = b",".join(pieces)
    return records


def _each(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each `LENGTH KEY=VALUE\\n`; the length counts itself and the newline."""
    start = 0
    while start < len(data):
        space = data.find(b" ", start, start + _LENGTH_DIGITS)
        digits = data[start : max(space, start)]
        end = start + int(digits) if digits.isdigit() else -1
        equals = data.find(b"=", space + 1, max(end, 0))
        if not start < end <= len(data) or equals < 0 or data[end - 1] != ord("\n"):
            raise Malformed("its tar archive has a PAX header that cannot be read")
        yield data[space + 1 : equals], data[equals + 1 : end - 1]
        start = end


def integer(value: bytes) -> int:
    """A number of a record; the fraction of a time is dropped (towards the past).

    Raises:
        Malformed: it is not valid.
    """
    whole, _, fraction = value.partition(b".")
    digits = whole.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 20 or (fraction and not fraction.isdigit()):
        raise Malformed(f"its tar archive has a PAX header with {value[:40]!r} for a number")
    negative = whole.startswith(b"-")
    return int(whole) - (1 if negative and fraction.strip(b"0") else 0)


@dataclass(frozen=True, slots=True)
class SparseFile:
    """The PAX records of a sparse file."""

    name: bytes
    size: int
    """Bytes of the file, with its holes."""
    map: tuple[int, ...] | None
    """Offsets and lengths of its pieces in turn; None: they are at the beginning of the file's data (format 1.0)."""


def sparse_file(records: Mapping[bytes, bytes]) -> SparseFile | None:
    """The sparse file that the records describe; None: they describe none.

    Raises:
        Malformed: they are incomplete.
    """
    name = records.get(b"GNU.sparse.name", b"")
    if records.get(b"GNU.sparse.major") == b"1" and records.get(b"GNU.sparse.minor") == b"0":
        return SparseFile(name, integer(records.get(b"GNU.sparse.realsize", b"")), None)
    if _MAP not in records:
        return None
    numbers = records[_MAP]
    pairs = tuple(integer(part) for part in numbers.split(b",")) if numbers else ()
    return SparseFile(name, integer(records.get(b"GNU.sparse.size", b"")), pairs)
