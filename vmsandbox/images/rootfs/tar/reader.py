"""Reading a layer's tar archive, which may be hostile, entry by entry.

Python's `tarfile` is not used: it takes a broken header in the middle for the archive's end, and reads a header of
any size into memory; here everything is bounded and every fault is an error.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vmsandbox.images.oci import Malformed
from vmsandbox.images.rootfs.layers import PIECE_MEMORY, Budget
from vmsandbox.images.rootfs.tar.entry import Content, FileKind, TarEntry
from vmsandbox.images.rootfs.tar.header import BLOCK, Header, parse_header
from vmsandbox.images.rootfs.tar.names import MAX_PATH
from vmsandbox.images.rootfs.tar.pax import XATTR, integer, parse_records, sparse_file
from vmsandbox.images.rootfs.tar.sparse import checked_pieces, leading_map, old_map, old_size
from vmsandbox.images.rootfs.tar.stream import TarStream

_ZEROS = bytes(BLOCK)
_MAX_EXTENSIONS = 1 << 20
"""Bytes of the extended headers and long names of one entry, all together."""
_MAX_NAME = 2 * MAX_PATH
"""Bytes of a name, which may have more slashes and dots than the path that it stands for."""
_MAX_ID = 2**32 - 2
_MAX_MAJOR, _MAX_MINOR = 2**12 - 1, 2**20 - 1
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _SPARSE, _CONTIGUOUS = b"L", b"K", b"x", b"g", b"S", b"7"
_VERSION_7 = b"\0"
"""A file, or a directory if its name ends in a slash."""
_KINDS = {kind.value: kind for kind in FileKind} | dict.fromkeys((_VERSION_7, _CONTIGUOUS, _SPARSE), FileKind.FILE)

Records = Mapping[bytes, bytes]


def read_entries(stream: TarStream, budget: Budget) -> Iterator[TarEntry]:
    """The entries of an archive; the content of each is passed over.

    Raises:
        Malformed: it is not a tar archive, is cut short, or holds what layers do not have.
        ResourceExhausted: its entries, or headers that describe none, take more memory than allowed.
    """
    records: dict[bytes, bytes] = {}
    left = _MAX_EXTENSIONS
    while not stream.at_end():
        block = stream.read(BLOCK)
        if block == _ZEROS:
            return
        header = parse_header(block)
        if header.flag in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            data = _data(stream, header.size, left)
            budget.spend_memory(BLOCK + len(data))
            records |= _extension(header, data)
            left -= BLOCK + len(data)
            continue
        entry = _Member(header, records, stream, budget).entry()
        budget.spend_file(entry.name + entry.linkname, entry.xattrs)
        yield entry
        records, left = {}, _MAX_EXTENSIONS


def _data(stream: TarStream, size: int, left: int) -> bytes:
    if not 0 <= size <= left:
        raise Malformed(
            f"its tar archive has more than {_MAX_EXTENSIONS} bytes of extended headers for one entry",
            hint="no program that makes images writes such a layer: build the image anew",
        )
    data = stream.read(size)
    stream.skip(-size % BLOCK)
    return data


def _extension(header: Header, data: bytes) -> dict[bytes, bytes]:
    """Apply an extension to the next entry; a global header is ignored, as in containerd."""
    if header.flag == _PAX:
        return parse_records(data)
    if header.flag == _PAX_GLOBAL:
        return {}
    return {b"path" if header.flag == _LONG_NAME else b"linkpath": data.partition(b"\0")[0]}


@dataclass(frozen=True, slots=True)
class _Member:
    """A header and the records before it, with the stream behind it."""

    header: Header
    records: Records
    stream: TarStream
    budget: Budget

    def entry(self) -> TarEntry:
        kind = self._kind()
        content = self._content() if kind is FileKind.FILE else None
        name = self._name()
        if self.header.flag == _VERSION_7 and name.endswith(b"/"):
            kind, content = FileKind.DIRECTORY, None
        return TarEntry(
            name=name,
            kind=kind,
            mode=self.header.mode & 0o7777,
            uid=self._id(b"uid", self.header.uid),
            gid=self._id(b"gid", self.header.gid),
            mtime=self._number(b"mtime", self.header.mtime),
            linkname=_checked_name(self.records.get(b"linkpath") or self.header.linkname),
            device=self._device() if kind in (FileKind.CHARACTER_DEVICE, FileKind.BLOCK_DEVICE) else (0, 0),
            content=content,
            xattrs=tuple((key[len(XATTR) :], value) for key, value in self.records.items() if key.startswith(XATTR)),
        )

    def _kind(self) -> FileKind:
        kind = _KINDS.get(self.header.flag)
        if kind is None:
            raise Malformed(f"its tar archive has an entry of the unknown type {self.header.flag!r}")
        return kind

    def _device(self) -> tuple[int, int]:
        major, minor = self.header.device
        if not (0 <= major <= _MAX_MAJOR and 0 <= minor <= _MAX_MINOR):
            raise Malformed(f"its tar archive has a device of the numbers {major} and {minor}")
        return major, minor

    def _name(self) -> bytes:
        sparse = self.records.get(b"GNU.sparse.name")
        return _checked_name(sparse or self.records.get(b"path") or self.header.name)

    def _number(self, key: bytes, otherwise: int) -> int:
        value = self.records.get(key)
        return integer(value) if value else otherwise

    def _id(self, key: bytes, otherwise: int) -> int:
        value = self._number(key, otherwise)
        if not 0 <= value <= _MAX_ID:
            raise Malformed(f"its tar archive has an entry whose {key.decode()} is {value}")
        return value

    def _content(self) -> Content:
        """Where the content is; the stream is taken to the next header."""
        stored = self._number(b"size", self.header.size)
        if stored < 0:
            raise Malformed(f"its tar archive has a file of {stored} bytes")
        content = self._located(stored)
        self.stream.skip(content.stored + -content.stored % BLOCK)
        return content

    def _located(self, stored: int) -> Content:
        if self.header.flag == _SPARSE:
            numbers = old_map(self.header, self.stream, self.budget)
            return self._sparse(numbers, old_size(self.header), stored)
        sparse = sparse_file(self.records)
        if sparse is None:
            return Content(self.stream.position, stored)
        if sparse.map is not None:
            self.budget.spend_memory(len(sparse.map) // 2 * PIECE_MEMORY)
            return self._sparse(sparse.map, sparse.size, stored)
        start = self.stream.position
        numbers = leading_map(self.stream, self.budget)
        return self._sparse(numbers, sparse.size, stored - (self.stream.position - start))

    def _sparse(self, numbers: Sequence[int], size: int, stored: int) -> Content:
        if size < 0:
            raise Malformed(f"its tar archive has a file of {size} bytes")
        return Content(self.stream.position, size, checked_pieces(numbers, size, stored))


def _checked_name(name: bytes) -> bytes:
    if len(name) > _MAX_NAME:
        raise Malformed(f"its tar archive has a name of {len(name)} bytes; {_MAX_NAME} are allowed")
    if b"\0" in name:
        raise Malformed("its tar archive has a name with a NUL in it")
    return name
