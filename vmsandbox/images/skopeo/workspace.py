"""Where skopeo works: directories of its own user, in the directory of one pull or load, which is root's.

skopeo cannot put a link or another directory in their place, and nobody but root can list what is beside them. What it
is to read of root's is copied there: a user of its own may open neither keys nor archives that are root's alone.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vmsandbox import fs
from vmsandbox.fs.opening import regular_file
from vmsandbox.images.oci import Descriptor
from vmsandbox.images.store import Blobs
from vmsandbox.process import Account

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directories of one pull or load."""

    directory: Path
    """Made and removed by the caller; can be passed by everybody (0711)."""
    account: Account
    """Whom skopeo runs as."""

    @property
    def home(self) -> Path:
        """skopeo's HOME, and where its temporary files are."""
        return self.directory / "home"

    @property
    def layout(self) -> Path:
        """An OCI layout that skopeo writes; layers that are on their way are files `oci-put-blob*` in it."""
        return self.directory / "layout"

    @property
    def blobs(self) -> Blobs:
        """The blobs of that layout."""
        return Blobs(self.directory / "blobs")

    def make(self) -> None:
        """Make the directories."""
        fs.make_directory(self.blobs.directory, fs.PASSABLE)
        for name in ("home", "layout", "blobs/sha256"):
            self.make_directory(name)

    def make_directory(self, name: str) -> Path:
        """Make a directory in which skopeo may write."""
        path = self.directory / name
        path.mkdir(mode=0o700)
        os.chown(path, self.account.uid, self.account.gid)
        return path

    def pretend(self, layers: Iterable[Descriptor]) -> None:
        """Have skopeo find layers, of which it looks at the size only, so that it does not fetch them."""
        for layer in layers:
            with _made(self.blobs.path(layer.digest)) as file:
                file.truncate(layer.size)

    def write(self, path: Path, content: bytes) -> None:
        """Make a file for skopeo to read, in a directory that no skopeo has had yet."""
        with _made(path) as file:
            file.write(content)
            self._give(file)

    def copy_archive(self, source: Path) -> Path:
        """Copy a file of any size for skopeo to read. Blocks.

        skopeo splits names at colons, and the archive's own may have some: the copy's has none.
        """
        path = self.directory / "archive"
        with regular_file(source, follow=True) as archive, _made(path) as copy:
            shutil.copyfileobj(archive, copy, 1 << 20)
            self._give(copy)
        return path

    def _give(self, file: IO[bytes]) -> None:
        os.fchmod(file.fileno(), 0o400)
        os.fchown(file.fileno(), self.account.uid, self.account.gid)


def _made(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, _NEW, 0o600), "wb")
