"""The files and the process of one vhost-device-vsock, by the directory that it was started for.

It parses what a guest writes into its queues, and has no seccomp filter. So it runs as a user of its own,
with nothing but its directory: `confinement`.
"""

import contextlib
import os
import shutil
import socket
from pathlib import Path

from vmsandbox.errors import InvalidArgument
from vmsandbox.process import Account, Confinement, Limits, ProcessIdentity, processes_and_users, stat_of
from vmsandbox.protocol.messages import READY_PORT

VHOST_DEVICE_VSOCK = Path("vhost-device-vsock")
LOG_LIMIT = 256 * 1024
"""Bytes of the log; what the daemon prints beyond it is lost."""
_LOG_KEPT = 4 * 1024

_MEMORY = 256 * 1024 * 1024
"""Bytes of the daemon's own memory; that of the guest, which it maps, does not count."""
_PROCESSES = 64
"""Threads, of which it has one for each queue and one for each connection of QEMU."""

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


def make_directory(directory: Path, account: Account) -> None:
    """Make the directory, for the daemon to make its sockets in, and its log, which is root's."""
    directory.mkdir(mode=0o700)
    log_file(directory).touch(0o600)
    os.chown(directory, account.uid, account.gid)


def close_directory(directory: Path, qemu: Account) -> None:
    """Take the directory from a daemon that listens, and let QEMU pass to its socket.

    A daemon that its guest has taken over cannot put another socket, e.g. a link to one of the host's, in the place
    of that which we dial.
    """
    os.chown(vhost_socket(directory), qemu.uid, qemu.gid, follow_symlinks=False)
    os.chown(directory, 0, 0)
    directory.chmod(0o711)


def listen_at(path: Path, account: Account) -> socket.socket:
    """A listening Unix socket that is the caller's, and to which `account` may connect."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(str(path))
        os.chown(path, account.uid, account.gid)
        sock.listen(1)
    except BaseException:
        sock.close()
        raise
    return sock


def log_file(directory: Path) -> Path:
    """Return the file with the daemon's output."""
    return directory / "vsock.log"


def log_tail(directory: Path) -> str:
    """The end of what it printed; empty where there is none."""
    with contextlib.suppress(OSError):
        return log_file(directory).read_bytes()[-_LOG_KEPT:].decode(errors="replace")
    return ""


def command(program: Path, directory: Path, cid: int) -> list[str]:
    """Return the command line that starts it. A log that has reached its limit does not end it (SIGXFSZ, signal(7))."""
    return ["env", "--ignore-signal=XFSZ", str(program), *arguments(directory, cid)]


def confinement(account: Account) -> Confinement:
    """Return what the daemon runs with."""
    limits = Limits(memory=_MEMORY, file_size=LOG_LIMIT, processes=_PROCESSES)
    return Confinement(account, limits=limits, profile="vmsandbox-vsock")


def arguments(directory: Path, cid: int) -> list[str]:
    """Return the daemon's command line; a later process finds the daemon by it."""
    return [
        f"--guest-cid={cid}",
        f"--socket={vhost_socket(directory)}",
        f"--uds-path={dial_socket(directory)}",
    ]


def find(directory: Path, cid: int) -> ProcessIdentity | None:
    """The daemon that was started for `directory`, for an owner that crashed before it recorded it.

    Anybody can start a program with such a command line, but as its own user.
    """
    wanted, user = "\0".join(arguments(directory, cid)).encode(), _user(directory)
    for pid in (pid for pid, owner in processes_and_users() if owner == user):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[2].rstrip(b"\0") == wanted:
                return ProcessIdentity.of(pid)
    return None


def _user(directory: Path) -> int | None:
    """The user of the daemon: the owner of the socket that it may connect to, and before of the directory."""
    for path in (ready_socket(directory), directory):
        with contextlib.suppress(FileNotFoundError):
            return path.lstat().st_uid
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


def listening_sockets(pid: int) -> set[str]:
    """Return the paths of all Unix sockets that listen in a process's network namespace; none where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/net/unix").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return set()
    rows = (line.split(maxsplit=7) for line in lines)
    return {row[7] for row in rows if len(row) == 8 and row[3] == _LISTENING}


def program_installed(program: Path = VHOST_DEVICE_VSOCK) -> bool:
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
