"""The file systems and device nodes that every guest has, and the tmpfs volumes."""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox_agent.settings import Settings
from vmsandbox_agent.syscalls import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_REC,
    MS_REMOUNT,
    MS_SHARED,
    mount,
    open_in_root,
    opened,
)

_SAFE = MS_NOSUID | MS_NODEV


@dataclass(frozen=True, slots=True)
class _Mount:
    target: str
    kind: str
    flags: int = _SAFE | MS_NOEXEC
    options: str = ""


_MOUNTS = (
    _Mount("/proc", "proc"),
    _Mount("/sys", "sysfs"),
    _Mount("/dev", "devtmpfs", MS_NOSUID, "mode=755"),
    _Mount("/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"),
    _Mount("/dev/shm", "tmpfs", _SAFE, "mode=1777"),
    _Mount("/dev/mqueue", "mqueue"),
    _Mount("/run", "tmpfs", _SAFE, "mode=755"),
    _Mount("/tmp", "tmpfs", _SAFE, "mode=1777"),
    _Mount("/sys/fs/cgroup", "cgroup2", options="nsdelegate,memory_recursiveprot"),
)


def mount_all() -> None:
    """Mount what is not mounted yet; all of the tree is shared, so that containers can have propagation.

    Raises:
        OSError: a mount is refused.
    """
    for entry in _MOUNTS:
        if not os.path.ismount(entry.target):
            Path(entry.target).mkdir(exist_ok=True)
            mount(entry.kind, entry.target, entry.kind, entry.flags, entry.options)
    mount("none", "/", "", MS_REC | MS_SHARED)


def make_directories(settings: Settings) -> None:
    """Make the places that requests put things into."""
    for name in ("images", "containers", "scratch", "share", "sources", "tmpfs", "etc", "shm"):
        (settings.state / name).mkdir(parents=True, exist_ok=True)


def delegate_cgroups(root: Path) -> None:
    """Let the children of the root cgroup use every controller that the kernel has."""
    controllers = (root / "cgroup.controllers").read_text().split()
    (root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def make_tmpfs(target: Path, size: int, mode: int, owner: tuple[int, int] = (0, 0)) -> None:
    """Mount a tmpfs at `target`, unless one is mounted there. `size` 0 is the kernel's default, and so is too much."""
    if not os.path.ismount(target):
        target.mkdir(parents=True, exist_ok=True)
        uid, gid = owner
        mount("tmpfs", str(target), "tmpfs", _SAFE, f"mode={mode & 0o7777:o},uid={uid},gid={gid},size={_bounded(size)}")


def make_shared_memory(target: Path, size: int) -> None:
    """Mount the pod's /dev/shm at `target`; one that is there gets the size, as a machine that waited has another."""
    if os.path.ismount(target):
        mount("tmpfs", str(target), "tmpfs", MS_REMOUNT | _SAFE, f"size={_bounded(size)}")
    else:
        make_tmpfs(target, size, 0o1777)


def _bounded(size: int) -> str:
    return str(size) if 0 < size <= _memory() else "50%"


def read_ahead(mounted: Path, kib: int, devices: Path = Path("/sys/class/bdi")) -> None:
    """Have a file system read ahead that many KiB; one without a device to read ahead from stays as it is."""
    number = mounted.stat().st_dev
    device = devices / f"{os.major(number)}:{os.minor(number)}"
    if device.is_dir():
        (device / "read_ahead_kb").write_text(str(kib))


def make_directory(root: Path, path: str, mode: int, owner: tuple[int, int]) -> None:
    """Make the directory `path` below `root`, whose content is not trusted: no link leads out of it.

    Raises:
        OSError: something else is in its place.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for count in range(1, len(parts) + 1):
        with opened(root) as directory:
            parent = open_in_root(directory, "/".join(parts[: count - 1]) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            _make_one(parent, parts[count - 1], mode, owner)
        finally:
            os.close(parent)


def _make_one(parent: int, name: str, mode: int, owner: tuple[int, int]) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
        os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, mode & 0o7777, dir_fd=parent)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_LINE = re.compile(r"(?P<module>\S+) (?P<name>\S+) (?P<kind>[bc])(?P<major>\d+):(?P<minor>\d+)")
_LOOP_MAJOR, _LOOPS = 7, 8
"""Loop devices have no line of their own; the kernel makes eight when their module is loaded."""
_MODE, _MODES = 0o600, {"net/tun": 0o666}
"""The mode that devtmpfs gives to a node, and the changes of udev's rules."""


def make_nodes(devices: Path = Path("/dev"), modules: Path | None = None) -> None:
    """Make the device nodes of kernel modules that are not loaded yet: opening one loads its module.

    devtmpfs has a node once its driver is there. depmod(8) lists those that may be there before, in `modules.devname`;
    on other machines kmod and systemd-tmpfiles make them, and udev's rules give them their modes.

    Args:
        devices: the devtmpfs.
        modules: the directory of the running kernel's modules; without one, where modprobe(8) looks for it.

    Raises:
        OSError: a node cannot be made.
    """
    directory = modules or Path("/usr/lib/modules") / os.uname().release
    for name, kind, major, minor in _nodes(directory / "modules.devname"):
        path = devices / name
        path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mknod(path, kind | _MODE, os.makedev(major, minor))
            path.chmod(_MODES.get(name, _MODE))


def _nodes(listed: Path) -> Iterator[tuple[str, int, int, int]]:
    """Yield name, kind and numbers of each node."""
    for found in map(_LINE.fullmatch, listed.read_text().splitlines() if listed.is_file() else ()):
        if found:
            kind = stat.S_IFBLK if found["kind"] == "b" else stat.S_IFCHR
            yield found["name"], kind, int(found["major"]), int(found["minor"])
            if found["module"] == "loop":
                yield from ((f"loop{number}", stat.S_IFBLK, _LOOP_MAJOR, number) for number in range(_LOOPS))
