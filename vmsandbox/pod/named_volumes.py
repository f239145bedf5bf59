"""Named volumes: directories of this host that outlive pods, which claims and `run -v NAME:/PATH` use by their names.

    DIRECTORY/lock                 held while a volume is made, taken into use or removed
    DIRECTORY/NAME/volume.json     what is known of it
    DIRECTORY/NAME/used            held, shared, by every process whose pod uses it
    DIRECTORY/NAME/data            its content, which pods write
    DIRECTORY/.new-*, .gone-*      one that is being made or removed; what a kill leaves of them is removed later

A volume comes and goes by a rename, so that a kill at any moment leaves a whole volume or none. All is root's alone; a
pod sees `data` through a mount. What pods have written is never walked here, except by rm(1), in its own process.
"""

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vmsandbox.errors import AlreadyExists, FailedPrecondition, Internal, InvalidArgument, NotFound
from vmsandbox.fs import make_directory
from vmsandbox.fs.durable import replace_whole, sync_directory
from vmsandbox.fs.locks import locked, try_flock
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.moments import rfc3339
from vmsandbox.process import remove_tree

VOLUMES = "volumes"
"""The directory of the volumes, below the state directory."""

VOLUMES = "volumes"
"""The directory of the volumes, below the state directory."""

FORMAT = 1
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_CLOSED = 0o700


@dataclass(frozen=True, slots=True)
class NamedVolume:
    """A volume that is there."""

    name: str
    data: Path
    """The directory of its content."""
    created_at: str
    """RFC 3339, in UTC."""
    labels: dict[str, str] = field(default_factory=dict)
    in_use: bool = False
    """Whether a process that runs a pod has it."""


class NamedVolumes:
    """The volumes of a host, in a directory of their own, which is made with the first one. Calls block for moments."""

    def __init__(self, directory: Path) -> None:
        """Nothing is looked at before the first call."""
        self._directory = directory

    def data(self, name: str) -> Path:
        """Where the content of a volume is, or will be."""
        return self._directory / name / "data"

    def list(self) -> tuple[NamedVolume, ...]:
        """All volumes, by their names."""
        with self._locked():
            names = sorted(path.parent.name for path in self._directory.glob("*/volume.json"))
            return tuple(self._read(name) for name in names if _NAME.fullmatch(name))

    def find(self, name: str) -> NamedVolume:
        """Return a volume. Raises NotFound."""
        with self._locked():
            return self._find(name)

    def _find(self, name: str) -> NamedVolume:
        if not (_NAME.fullmatch(name) and (self._directory / name / "volume.json").exists()):
            raise NotFound(f"there is no volume {name[:80]}", hint="`vmsandbox volume list` lists them")
        return self._read(name)

    def create(self, name: str, labels: dict[str, str] | None = None) -> NamedVolume:
        """Make an empty volume.

        Raises:
            AlreadyExists: there is one of this name.
            InvalidArgument: it cannot be the name of one.
        """
        _check_name(name)
        with self._locked():
            if (self._directory / name).exists():
                raise AlreadyExists(f"there is a volume {name}")
            self._make(name, labels or {}, lambda data: None)
            return self._read(name)

    @contextlib.contextmanager
    def used(self, name: str, prepare: Callable[[Path], None], *, alone: bool = False) -> Iterator[NamedVolume]:
        """Use a volume while the context lasts, which keeps it from being removed; one that is not there is made.

        Args:
            name: of the volume.
            prepare: gives the content of a new one its owner and mode.
            alone: nobody else may use it meanwhile (ReadWriteOncePod).

        Raises:
            FailedPrecondition: another process uses it, and one of the two wants it alone.
        InvalidArgument: it cannot be the name of a volume.
        """
        _check_name(name)
        with contextlib.ExitStack() as stack:
            with self._locked():
                if not (self._directory / name).exists():
                    self._make(name, {}, prepare)
                fd = os.open(self._directory / name / "used", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                stack.callback(os.close, fd)
                if not try_flock(fd, shared=not alone):
                    raise FailedPrecondition(f"the volume {name} is in use, and may be used by one pod alone")
                volume = self._read(name)
            yield volume

    async def remove(self, name: str) -> None:
        """Remove a volume with its content.

        Raises:
            NotFound: there is none of this name.
            FailedPrecondition: a pod uses it.
            VmsandboxError: as `remove_tree`; it is gone for all others, and the next call goes on.
        """
        with self._locked():
            if self._find(name).in_use:
                raise FailedPrecondition(f"the volume {name} is in use", hint="stop the pod that uses it")
            (self._directory / name).rename(self._directory / f".gone-{secrets.token_hex(8)}")
            sync_directory(self._directory)
        await self.sweep()

    async def sweep(self) -> None:
        """Remove what was left half made or half removed."""
        if not self._directory.is_dir():
            return
        with self._locked():
            left = [path for pattern in (".new-*", ".gone-*") for path in self._directory.glob(pattern)]
        for path in left:
            await remove_tree(path)

    def _make(self, name: str, labels: dict[str, str], prepare: Callable[[Path], None]) -> None:
        new = self._directory / f".new-{secrets.token_hex(8)}"
        new.mkdir(_CLOSED)
        (new / "data").mkdir()
        (new / "data").chmod(0o777)
        prepare(new / "data")
        known = {"format": FORMAT, "createdAt": rfc3339(time.time_ns()), "labels": labels}
        replace_whole(new / "volume.json", json.dumps(known).encode(), temporary=new / "volume.json.new")
        new.rename(self._directory / name)
        sync_directory(self._directory)

    def _read(self, name: str) -> NamedVolume:
        path = self._directory / name / "volume.json"
        try:
            known = json.loads(read_regular(path, MEBIBYTE))
            if known["format"] != FORMAT:
                raise ValueError(f"it has the format {known['format']}, and this program reads {FORMAT}")
            return NamedVolume(name, self.data(name), known["createdAt"], known["labels"], self._in_use(name))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Internal(f"{path} cannot be read: {reason(error)}") from None

    def _in_use(self, name: str) -> bool:
        fd = os.open(self._directory / name / "used", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            return not try_flock(fd)
        finally:
            os.close(fd)

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        make_directory(self._directory, _CLOSED)
        return locked(self._directory / "lock")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name[:80]!r} is not the name of a volume", hint="use lower case letters, digits, - and ."
        )
