"""The files and the process of one vhost-device-vsock, by the directory that it was started for."""

import contextlib
import grp
import os
import shutil
import socket
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.process import ProcessIdentity, stat_of
from vmsandbox.protocol.messages import READY_PORT

DEFAULT_PROGRAM = Path("vhost-device-vsock")
_LOG_KEPT = 4 * 1024

_LONGEST_PATH = 107
"""Bytes of a Unix socket's path without its terminating zero (unix(7))."""

_LISTENING = "00010000"
"""Flags of a listening socket in /proc/net/unix (__SO_ACCEPTCON)."""

_PF_EXITING = 0x4


def vhost_socket(directory: Path) -> Path:
    """The socket that QEMU connects to."""
    return directory / "vhost.sock"


def dial_socket(directory: Path) -> Path:
    """The socket that we connect to."""
    return directory / "vsock.sock"


def ready_socket(directory: Path) -> Path:
    """Where the daemon connects when the guest connects to that port of the host."""
    return directory / f"{dial_socket(directory).name}_{READY_PORT}"


def listen_at(path: Path) -> socket.socket:
    """A listening Unix socket that is the caller's."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(str(path))
        sock.listen(1)
    except BaseException:
        sock.close()
        raise
    return sock


def log_file(directory: Path) -> Path:
    """What the daemon prints."""
    return directory / "vsock.log"


def log_tail(directory: Path) -> str:
    """The end of what it printed; empty where there is none."""
    with contextlib.suppress(OSError):
        return log_file(directory).read_bytes()[-_LOG_KEPT:].decode(errors="replace")
    return ""


def arguments(directory: Path, cid: int) -> list[str]:
    """Its command line, by which it is found again."""
    return [
        f"--guest-cid={cid}",
        f"--socket={vhost_socket(directory)}",
        f"--uds-path={dial_socket(directory)}",
    ]


def find(directory: Path, cid: int) -> ProcessIdentity | None:
    """The daemon that was started for `directory`, for an owner that crashed before it recorded it."""
    wanted = "\0".join(arguments(directory, cid)).encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cmdline").read_bytes().partition(b"\0")[2].rstrip(b"\0") == wanted:
                    return ProcessIdentity.of(int(entry.name))
    return None


def check_length(directory: Path) -> None:
    """Raise InvalidArgument where the sockets' paths are too long."""
    longest = ready_socket(directory)
    length = len(os.fsencode(longest))
    if length > _LONGEST_PATH:
        raise InvalidArgument(
            f"the socket path {longest} has {length} bytes, and Unix sockets have at most {_LONGEST_PATH}",
            hint="choose a shorter run directory",
        )


def remove_sockets(directory: Path) -> None:
    """Remove what a daemon leaves. Succeeds where there is nothing."""
    for path in (vhost_socket(directory), dial_socket(directory), ready_socket(directory)):
        path.unlink(missing_ok=True)


def group_id(group: str | int | None) -> int | None:
    """The number of a group. Raises FailedPrecondition where there is none of that name."""
    if not isinstance(group, str):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise FailedPrecondition(f"the group {group} does not exist on this host") from None


def listening_sockets() -> set[str]:
    """The paths of all Unix sockets on which somebody listens."""
    lines = Path("/proc/net/unix").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    rows = (line.split(maxsplit=7) for line in lines)
    return {row[7] for row in rows if len(row) == 8 and row[3] == _LISTENING}


def installed(program: Path = DEFAULT_PROGRAM) -> bool:
    """Whether the daemon's program is there."""
    return shutil.which(program) is not None


def is_ending(identity: ProcessIdentity) -> bool:
    """Whether a process has ended or begun to: its sockets close before it can be seen as ended (proc(5))."""
    try:
        fields = stat_of(identity.pid)
    except (FileNotFoundError, ProcessLookupError):
        return True
    same = int(fields[19]) == identity.start_time
    return not same or fields[0] == "Z" or bool(int(fields[6]) & _PF_EXITING)
