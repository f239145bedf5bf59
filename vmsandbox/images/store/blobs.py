"""The blobs that a store holds: files named by the digest of their content."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from vmsandbox.errors import Internal, InvalidArgument
from vmsandbox.fs import durable
from vmsandbox.fs.opening import regular_file
from vmsandbox.images.oci import MAX_DOCUMENT, Descriptor, check_digest


@dataclass(frozen=True, slots=True)
class Blobs:
    """The directory of blobs, as skopeo shares it between OCI layouts: DIRECTORY/sha256/HEX.

    A blob that is there is whole: it is written elsewhere on the same file system, checked, synced and renamed.
    """

    directory: Path

    def path(self, digest: str) -> Path:
        """Where the blob of this digest is, or would be."""
        return self.directory / "sha256" / digest.removeprefix("sha256:")

    def holds(self, blob: Descriptor) -> bool:
        """Whether the blob is there, in its full size."""
        try:
            return self.path(blob.digest).lstat().st_size == blob.size
        except FileNotFoundError:
            return False

    def read(self, digest: str) -> bytes:
        """A small blob's content, checked against its digest.

        Raises:
            Internal: it is missing or damaged.
        """
        try:
            return check_digest(read_bounded(self.path(digest)), digest, "a blob of the image store")
        except FileNotFoundError:
            raise Internal(
                f"the image store has lost the blob {digest}", hint="remove the image and pull it again"
            ) from None

    def put(self, data: bytes, digest: str) -> None:
        """Keep small content under its digest, which the caller has checked."""
        if not self.path(digest).exists():
            durable.replace_whole(self.path(digest), data)

    def adopt(self, source: Path, blob: Descriptor, staging: Path, *, moved: bool) -> None:
        """Take a file in; blocks.

        Args:
            source: the file. One that a program of another user has made may be anything.
            blob: what it has to be.
            staging: a directory of the caller's, where it is copied.
            moved: the file may go away: it is copied only where somebody might still change it.

        Raises:
            InvalidArgument: there is no such file.
            Internal: its content is not what the digest says.
        """
        if self.holds(blob):
            return
        try:
            check_size(source, blob)
            if not (moved and become_ours(source)):
                source = _copied(source, staging / "blob")
            check_file(source, blob.digest)
        except FileNotFoundError:
            raise InvalidArgument(f"the blob {blob.digest} is missing") from None
        source.replace(self.path(blob.digest))
        self.sync()

    def sync(self) -> None:
        """Make the blobs' names survive a power cut; their content is synced as it is written."""
        durable.sync_directory(self.directory / "sha256")

    def occupied(self, digests: Iterable[str]) -> int:
        """Bytes of disk that these blobs take."""
        return sum(disk_bytes(self.path(digest)) for digest in set(digests))


def read_bounded(path: Path) -> bytes:
    """A document's bytes; a file that is too large is cut so that its check fails, not this process.

    Raises:
        FileNotFoundError: there is none.
        InvalidArgument: it is not a regular file.
    """
    with _opened(path) as file:
        return file.read(MAX_DOCUMENT + 1)


def _copied(source: Path, target: Path) -> Path:
    with _opened(source) as file, target.open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
    return target


def _opened(path: Path) -> BufferedReader:
    try:
        return regular_file(path)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ELOOP):
            raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None
        raise


def check_size(path: Path, blob: Descriptor) -> None:
    """Compare a file's size with the one that the manifest says.

    Raises:
        FileNotFoundError: there is no file.
        InvalidArgument: it is not a regular file.
        Internal: it has another size.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
    if size != blob.size:
        raise Internal(
            f"{path.name[:100]} has {size} bytes, not {blob.size} as the manifest says",
            hint="push or save the image again",
        )


def become_ours(path: Path) -> bool:
    """Take over a file that another user's program has made and that nobody may change afterwards.

    The file is where that program has no name for it. An open descriptor may be with it, or with a process that works
    together with it.

    Returns:
        Whether it is ours alone now: it had no other name and no descriptor that can write. Else it is to be copied.
    """
    with _opened(path) as file:
        fd = file.fileno()
        if os.fstat(fd).st_nlink != 1:
            return False
        os.fchown(fd, os.geteuid(), os.getegid())
        os.fchmod(fd, 0o600)
        return not _has_writers(fd)


def _has_writers(fd: int) -> bool:
    """Whether a descriptor or a mapping can write to the file: then the kernel gives no lease to read it (fcntl(2))."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:  # it has, or the file system has no leases
        return True
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def check_file(path: Path, digest: str) -> None:
    """Compare a file with its digest.

    Raises:
        Internal: it is something else.
    """
    found = file_digest(path)
    if found != digest:
        raise Internal(f"{path.name[:100]} has the digest {found}, not {digest}", hint="save the image again")


def file_digest(path: Path) -> str:
    """The digest of a file; reads all of it, so keep it out of the event loop. The content is synced too."""
    with _opened(path) as file:
        durable.sync_file(file.fileno())
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def disk_bytes(path: Path) -> int:
    """Bytes of disk that a file occupies; 0 where there is none."""
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0
