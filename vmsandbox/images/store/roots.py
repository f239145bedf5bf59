"""Root images: for each sum of layers one read-only file system, made once and named by its content."""

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import fs
from vmsandbox.fs import durable
from vmsandbox.fs.locks import locked_async, try_flock, wait_flock
from vmsandbox.fs.opening import MEBIBYTE, read_regular
from vmsandbox.images.rootfs import Arrival, Layer, RootLimit, at_once, build_root_image
from vmsandbox.images.store.blobs import disk_bytes, file_digest
from vmsandbox.process import Account
from vmsandbox.protocol.codec import MalformedMessage, decode, encode

FILESYSTEM = "squashfs"
FORMAT = 2
"""The format of root images. A root image of an older format is built again."""


@dataclass(frozen=True, slots=True)
class RootImage:
    """A read-only file system with an image's files, to be attached as a disk.

    The file belongs to the store: never write, move or chown it. `serial` names its content in 32 hexadecimal
    digits (QEMU takes 36 characters), by which the guest finds the disk; `size` is bytes.
    """

    path: Path
    serial: str
    filesystem: str
    size: int


@dataclass(frozen=True, slots=True)
class _Seal:
    """The seal of a finished root image: its digest, and the file's state when the digest was computed."""

    format: int
    digest: str
    size: int
    inode: int
    modified: int
    """Nanoseconds."""

    def same_file(self, stat: os.stat_result) -> bool:
        return (self.size, self.inode, self.modified) == (stat.st_size, stat.st_ino, stat.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Roots:
    """The directory of root images: HEX.squashfs, and HEX.json that seals it; HEX is the layers' chain id."""

    directory: Path
    locks: Path
    limit: RootLimit
    user: str
    """The system user that makes them."""
    readers: int
    """Number of the group that reads root images besides root; -1: that of this process."""
    timeout: float
    """Seconds for the making of one, whose layers may still be on their way."""

    def path(self, chain_id: str) -> Path:
        """Where the root image of these layers is, or would be."""
        return self.directory / f"{chain_id.removeprefix('sha256:')}.{FILESYSTEM}"

    async def ensure(
        self, chain_id: str, layers: Sequence[Layer], staging: Path, arrival: Arrival = at_once
    ) -> RootImage:
        """The root image of these layers, made if it is missing or is no longer what was made.

        The caller keeps the store from being collected meanwhile. The layers need not be there: see
        `build_root_image`.

        Raises:
            VmsandboxError: what `build_root_image` raises.
        """
        path = self.path(chain_id)
        async with locked_async(self.locks / path.name):
            if not await asyncio.to_thread(self._intact, path):
                account, made = Account.named(self.user), staging / path.name
                await build_root_image(
                    layers, made, limit=self.limit, account=account, arrival=arrival, timeout=self.timeout
                )
                await asyncio.to_thread(_finish, made, path, self.readers)
        return RootImage(path, path.stem[:32], FILESYSTEM, path.stat().st_size)

    def _intact(self, path: Path) -> bool:
        """Whether the file is the one that was made; its digest is computed where the file was touched since."""
        try:
            seal, stat = decode(_Seal, json.loads(read_regular(_seal_path(path), MEBIBYTE))), path.stat()
        except (OSError, ValueError, MalformedMessage):
            return False
        if seal.format != FORMAT or seal.size != stat.st_size:
            return False
        if seal.same_file(stat):
            return True
        if file_digest(path) != seal.digest:
            return False
        _write_seal(path, seal.digest)
        return True

    def occupied(self, chain_id: str) -> int:
        """Bytes of disk that the root image takes."""
        return disk_bytes(self.path(chain_id))

    @contextlib.contextmanager
    def hold(self, root: RootImage) -> Iterator[None]:
        """Keep the root image from being collected, by any process, until the body ends or this process does."""
        fd = os.open(root.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            wait_flock(fd, shared=True)
            yield
        finally:
            os.close(fd)

    def drop(self, chain_id: str) -> None:
        """Remove a root image that is not held; a process that needs it makes it again."""
        path = self.path(chain_id)
        if path.exists():
            _drop(path)

    def collect(self, used: frozenset[str]) -> None:
        """Remove what is neither the root image of one of these chain ids nor held.

        The caller has the store to itself.
        """
        kept = {self.path(chain_id) for chain_id in used}
        for path in self.directory.glob(f"*.{FILESYSTEM}"):
            if path not in kept:
                _drop(path)
        for path in self.directory.iterdir():
            if not path.with_suffix(f".{FILESYSTEM}").exists():
                path.unlink()


def _seal_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _write_seal(path: Path, digest: str) -> None:
    stat = path.stat()
    seal = _Seal(FORMAT, digest, stat.st_size, stat.st_ino, stat.st_mtime_ns)
    durable.replace_whole(_seal_path(path), json.dumps(encode(seal)).encode())


def _finish(made: Path, path: Path, readers: int) -> None:
    """Put a root image that was made in its place; it counts from the moment its seal is written."""
    _seal_path(path).unlink(missing_ok=True)
    digest = file_digest(made)
    fs.set_mode(made, 0o440, readers)
    made.replace(path)
    _write_seal(path, digest)


def _drop(path: Path) -> None:
    if not _held(path):
        _seal_path(path).unlink(missing_ok=True)
        path.unlink()


def _held(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return not try_flock(fd)
    finally:
        os.close(fd)
