"""The access rights of the files on this host: one table, which docs/on-disk.md prints and a test enforces.

Everything is root's. A directory of mode 0700 closes all that is below it. The others can be passed through, but not
listed, by users who have to reach something in them: QEMU's, and the members of `socket_group`.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import log
from vmsandbox.config import Config
from vmsandbox.fs import PASSABLE, set_mode

_log = log.get(__name__)

_CLOSED = 0o700
_PRIVATE = 0o600
_PROGRAM = 0o755


class Place(enum.Enum):
    """The directories that the names of the table start from, as docs/on-disk.md calls them."""

    RUN = "RUN"
    STATE = "STATE"
    PROCESS_RUN = "RUN/serve, RUN/run/N"
    PROCESS_STATE = "STATE/serve, STATE/run/N"
    IMAGES = "IMAGES"
    LIBVIRT = "LIBVIRT"


class FileOwner(enum.Enum):
    """The user and the group of a file, as docs/on-disk.md says them."""

    ROOT = "root"
    QEMU_GROUP = "root, `qemu_group`"
    QEMU = "QEMU's user"
    VSOCK = "the vsock daemon's user"


@dataclass(frozen=True, slots=True)
class Entry:
    """Files or directories of one kind; those of sandboxes are made with their sandbox, and stay as they are."""

    place: Place
    names: str
    """A pattern (pathlib), below the place; empty: the place itself."""
    mode: int
    why: str = ""
    """The user other than root that has to reach it."""
    owner: FileOwner = FileOwner.ROOT

    def found(self, places: Mapping[Place, tuple[Path, ...]]) -> Iterator[Path]:
        """All that there are now."""
        for root in places[self.place]:
            yield from root.glob(self.names) if self.names else (root.resolve(),)


KEPT = (
    Entry(Place.RUN, "", PASSABLE, "QEMU's user, `socket_group`"),
    Entry(Place.RUN, "cids", _CLOSED),
    Entry(Place.RUN, "users", _CLOSED),
    Entry(Place.RUN, "cgroups", _CLOSED),
    Entry(Place.RUN, "devices.lock", _PRIVATE),
    Entry(Place.RUN, "run", PASSABLE, "QEMU's user"),
    Entry(Place.RUN, "oci.sock", _PRIVATE),
    Entry(Place.PROCESS_RUN, "", PASSABLE, "QEMU's user"),
    Entry(Place.PROCESS_RUN, "cri.sock", _PRIVATE),
    Entry(Place.PROCESS_RUN, ".cri.sock.lock", _PRIVATE),
    Entry(Place.PROCESS_RUN, "sandboxes", PASSABLE, "QEMU's user"),
    Entry(Place.PROCESS_RUN, "pod", _CLOSED),
    Entry(Place.STATE, "", PASSABLE, "QEMU's user"),
    Entry(Place.STATE, "accelerators.json", _PRIVATE),
    Entry(Place.STATE, "network", _CLOSED),
    Entry(Place.STATE, "run", PASSABLE, "QEMU's user"),
    Entry(Place.STATE, "logs", _CLOSED),
    Entry(Place.STATE, "volumes", _CLOSED),
    Entry(Place.PROCESS_STATE, "", PASSABLE, "QEMU's user"),
    Entry(Place.PROCESS_STATE, "lock", _PRIVATE),
    Entry(Place.PROCESS_STATE, "state.db*", _PRIVATE),
    Entry(Place.PROCESS_STATE, "templates", _CLOSED),
    Entry(Place.PROCESS_STATE, "virtiofsd", _CLOSED),
    Entry(Place.PROCESS_STATE, "qemu-one-thread", _PROGRAM, "QEMU's user"),
    Entry(Place.PROCESS_STATE, "logs", _CLOSED),
    Entry(Place.PROCESS_STATE, "notes.log", _PRIVATE),
    Entry(Place.PROCESS_STATE, "pod", _CLOSED),
    Entry(Place.PROCESS_STATE, "sandboxes", PASSABLE, "QEMU's user"),
    Entry(Place.LIBVIRT, "", PASSABLE, "QEMU's user"),
    Entry(Place.LIBVIRT, "lib", PASSABLE, "QEMU's user"),
    Entry(Place.LIBVIRT, "lib/qemu", PASSABLE, "QEMU's user"),
    Entry(Place.LIBVIRT, "*.lock", _PRIVATE),
    Entry(Place.LIBVIRT, "pid", _PRIVATE),
    Entry(Place.LIBVIRT, "etc", _CLOSED),
    Entry(Place.LIBVIRT, "cache", _CLOSED),
    Entry(Place.LIBVIRT, "log", _CLOSED),
    Entry(Place.LIBVIRT, "run", _CLOSED),
    Entry(Place.IMAGES, "", PASSABLE, "QEMU's user"),
    Entry(Place.IMAGES, "index.json", _PRIVATE),
    Entry(Place.IMAGES, "*.lock", _PRIVATE),
    Entry(Place.IMAGES, "blobs", _CLOSED),
    Entry(Place.IMAGES, "locks", _CLOSED),
    Entry(Place.IMAGES, "staging", PASSABLE, "the user of skopeo"),
    Entry(Place.IMAGES, "roots", PASSABLE, "QEMU's user"),
    Entry(Place.IMAGES, "roots/*.json", _PRIVATE),
    Entry(Place.IMAGES, "roots/*.squashfs", 0o440, "QEMU reads it", FileOwner.QEMU_GROUP),
)
"""Files that stay from one process to the next; `correct` sees to them."""

OF_SANDBOXES = (
    Entry(Place.PROCESS_RUN, "sandboxes/*", PASSABLE, "QEMU's user"),
    Entry(Place.PROCESS_RUN, "sandboxes/*/share", _CLOSED),
    Entry(Place.PROCESS_RUN, "sandboxes/*/served", _CLOSED),
    Entry(Place.PROCESS_RUN, "sandboxes/*/uses", _CLOSED),
    Entry(Place.PROCESS_RUN, "sandboxes/*/share.sock", _PRIVATE, "QEMU connects to it", FileOwner.QEMU),
    Entry(Place.PROCESS_RUN, "sandboxes/*/share.log", _PRIVATE),
    Entry(Place.PROCESS_RUN, "sandboxes/*/devices", PASSABLE, "QEMU's user"),
    Entry(Place.PROCESS_RUN, "sandboxes/*/devices/*", _PRIVATE, "QEMU opens the device", FileOwner.QEMU),
    Entry(Place.PROCESS_RUN, "sandboxes/*/vsock", PASSABLE, "QEMU's user"),
    Entry(Place.PROCESS_RUN, "sandboxes/*/vsock/vhost.sock", _CLOSED, "QEMU connects to it", FileOwner.QEMU),
    Entry(Place.PROCESS_RUN, "sandboxes/*/vsock/vsock.sock*", _CLOSED, "the daemon listens", FileOwner.VSOCK),
    Entry(Place.PROCESS_RUN, "sandboxes/*/vsock/vsock.log", _PRIVATE),
    Entry(Place.PROCESS_STATE, "sandboxes/*", PASSABLE, "QEMU's user"),
    Entry(Place.PROCESS_STATE, "sandboxes/*/scratch.img", _PRIVATE, "QEMU writes it", FileOwner.QEMU),
    Entry(Place.PROCESS_STATE, "sandboxes/*/*.position", _PRIVATE),
)
"""The files of a sandbox, with their modes and owners; they are removed with it."""


def places(config: Config) -> dict[Place, tuple[Path, ...]]:
    """Where the places of the table are on this host now."""

    def of_processes(directory: Path) -> tuple[Path, ...]:
        return tuple(path for path in (directory / "serve", *directory.glob("run/[0-9]*")) if path.exists())

    run, state = config.run_directory, config.state_directory
    libvirts = (run / "libvirtd", *(path / "libvirt" for path in of_processes(run)))
    return {
        Place.RUN: (run,),
        Place.STATE: (state,),
        Place.PROCESS_RUN: of_processes(run),
        Place.PROCESS_STATE: of_processes(state),
        Place.LIBVIRT: tuple(path for path in libvirts if path.exists()),
        Place.IMAGES: (config.images.directory or state / "images",),
    }


def correct(config: Config, qemu_group: int) -> None:
    """Give what an older version of this program has left the modes and groups of the table; follows no link.

    The directories that the configuration names stay as they are: they may be shared with others (/srv).
    """
    where, named = places(config), _named(config)
    for entry in KEPT:
        for path in set(entry.found(where)) - named:
            _correct(path, entry.mode, qemu_group if entry.owner is FileOwner.QEMU_GROUP else 0)


def _named(config: Config) -> set[Path]:
    directories = (config.run_directory, config.state_directory, config.images.directory)
    return {directory.resolve() for directory in directories if directory is not None}


def _correct(path: Path, mode: int, group: int) -> None:
    try:
        set_mode(path, mode, group)
    except FileNotFoundError:
        return  # it is not there yet, or has just gone
    except OSError as error:
        _log.warning("%s cannot get the mode %o: %s", path, mode, error.strerror)
