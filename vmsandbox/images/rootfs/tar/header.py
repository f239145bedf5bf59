"""One 512-byte header block of a tar archive (POSIX.1-1988 ustar, GNU tar's and Version 7's)."""

from dataclasses import dataclass

from vmsandbox.images.oci import Malformed

BLOCK = 512
_CHECKSUM = slice(148, 156)
_USTAR = b"ustar\0"


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a block that are used; `block` gives the rest."""

    block: bytes
    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    flag: bytes
    linkname: bytes

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number."""
        return number(self.block[329:337]), number(self.block[337:345])


def parse_header(block: bytes) -> Header:
    """Read a block.

    Raises:
        Malformed: its checksum is wrong, or a number is not valid.
    """
    _check(block)
    name = text(block[:100])
    if block[257:263] == _USTAR and (prefix := text(block[345:500])):
        name = prefix + b"/" + name
    return Header(
        block, name, number(block[100:108]), number(block[108:116]), number(block[116:124]), number(block[124:136]),
        number(block[136:148]), block[156:157], text(block[157:257]),
    )  # fmt: skip


def _check(block: bytes) -> None:
    """Compare the checksum: the sum of all bytes, its own field read as blanks; some old programs add signed ones."""
    expected = number(block[_CHECKSUM])
    rest = block[:148] + block[156:]
    total = sum(rest) + 8 * 0x20
    if expected != total and expected != total - 256 * sum(byte > 127 for byte in rest):
        raise Malformed("its tar archive has a header with a wrong checksum")


def text(field: bytes) -> bytes:
    """A field's content up to its first NUL."""
    return field.partition(b"\0")[0]


def number(field: bytes) -> int:
    """A number: octal digits, or (GNU) the binary form that the first bit tells.

    Raises:
        Malformed: it is neither.
    """
    if field[0] & 0x80:
        sign = 1 << (8 * len(field) - 2)
        value = int.from_bytes(field, "big") & (2 * sign - 1)
        return value - 2 * sign if value & sign else value
    digits = text(field).strip(b" ") or b"0"
    if digits.strip(b"01234567"):
        raise Malformed(f"its tar archive has a header with {field!r} for a number")
    return int(digits, 8)
