"""Read a libvirt's sockets, records and logs: whether it answers, whether it has machines, and what it has logged."""

import contextlib
import os
import socket
import time
from pathlib import Path

LOG_LIMIT = 1024 * 1024
"""Bytes of the log of a libvirtd of our own."""
KEPT = 3600.0
"""Seconds for which the log of a machine that has ended is kept."""
MACHINE_PREFIX = "vmsandbox-"
_CONNECT = 10.0
_WORDS = 2000
"""Characters of a log that an error repeats."""


def has_machines(run: Path) -> bool:
    """Whether a libvirt has machines of sandboxes, by its directory for what goes with a reboot (/run/libvirt)."""
    return any((run / "qemu").glob(f"{MACHINE_PREFIX}[0-9a-f]*.xml"))


def answers(path: Path) -> bool:
    """Whether a process, or an init that starts one, listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT)  # A daemon that hangs is there all the same.
        try:
            probe.connect(os.fspath(path))
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


def last_words(logs: Path) -> str:
    """Return the ends of the logs of a libvirtd of our own: how it was started, and its own."""
    paths = (logs / "start.log", logs / "libvirtd.log")
    return "\n".join(path.read_text(errors="replace")[-_WORDS:] for path in paths if path.exists())


def tidy_logs(directory: Path) -> None:
    """Remove the logs of machines that have ended, and empty libvirtd's own where it is too long.

    Args:
        directory: that of a libvirtd of our own, with its `run` and `log`.
    """
    running = {path.stem for path in (directory / "run/qemu").glob("*.xml")}
    for path in (directory / "log/qemu").glob("*.log*"):
        if not any(path.name.startswith(name) for name in running) and _age(path) > KEPT:
            path.unlink(missing_ok=True)
    own = directory / "log/libvirtd.log"
    with contextlib.suppress(FileNotFoundError):
        if own.stat().st_size > LOG_LIMIT:
            os.truncate(own, 0)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0
