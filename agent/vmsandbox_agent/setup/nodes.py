"""Device nodes of kernel modules that are not loaded yet: opening one makes the kernel load its module.

devtmpfs has a node once its driver is there. depmod(8) lists those that may be there before, in `modules.devname`; on
other machines kmod and systemd-tmpfiles make them, and udev's rules give them their modes.
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

_LINE = re.compile(r"(?P<module>\S+) (?P<name>\S+) (?P<kind>[bc])(?P<major>\d+):(?P<minor>\d+)")
_LOOP_MAJOR, _LOOPS = 7, 8
"""Loop devices have no line of their own; the kernel makes eight when their module is loaded."""
_MODE, _MODES = 0o600, {"net/tun": 0o666}
"""The mode that devtmpfs gives to a node, and the changes of udev's rules."""


def make_nodes(devices: Path = Path("/dev"), modules: Path | None = None) -> None:
    """Make the nodes that are missing below `devices`.

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
