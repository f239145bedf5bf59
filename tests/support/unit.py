"""A command run under what the systemd unit says of its service, on a machine where no systemd runs.

    python -m tests.support.unit [--embedded] COMMAND...

Of systemd.exec(5) and systemd.resource-control(5) it does CapabilityBoundingSet=, DeviceAllow=,
MemoryDenyWriteExecute=, NoNewPrivileges=, RestrictAddressFamilies=, RestrictNamespaces=~cgroup, RestrictSUIDSGID=,
SystemCallFilter= and UMask=, by the same system calls as systemd; device files by cgroup v1 alone. `--embedded` adds
the drop-in for a libvirt inside the daemon.
"""

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

UNIT = Path(__file__).parents[2] / "packaging/systemd/vmsandbox.service"
EMBEDDED = UNIT.with_name("embedded-libvirt.conf")
DEVICES = Path("/sys/fs/cgroup/devices")

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_WRITE, _EXECUTE, _SHM_EXEC = 2, 4, 0o100000
_NEW_CGROUP = 0x02000000
_SET_ID = (0o4000, 0o2000)
_MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "mkdir": 1, "mkdirat": 2, "mknod": 1, "mknodat": 2, "creat": 1}
"""Which argument of system calls is a mode."""
_OPENS = {"open": 1, "openat": 2}
"""Which argument has flags; the mode comes after it."""
_CLOSED = ("c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 136:* rw")
"""The devices that DevicePolicy=closed allows: null, zero, full, random and urandom, and terminals."""
_FAMILIES = 46
"""Number of address families (linux/socket.h, AF_MAX)."""


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp (seccomp_rule_add(3))."""

    _fields_ = (
        ("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)
    )  # fmt: skip


class Filter:
    """A seccomp filter; a call that several loaded filters look at has the strictest answer."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, name: str, *comparisons: _Comparison) -> None:
        """A rule; a name that this kernel's architecture does not have is left out."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            array = (_Comparison * len(comparisons))(*comparisons)
            self._library.seccomp_rule_add_array(
                self._context, ctypes.c_uint32(action), number, len(comparisons), array
            )

    def load(self) -> None:
        assert self._library.seccomp_load(self._context) == 0


def values(key: str, *drop_ins: Path) -> list[str]:
    """Return the words of a key in the unit and its drop-ins: of all lines after the last empty one."""
    found: list[str] = []
    for line in (line for file in (UNIT, *drop_ins) for line in file.read_text().splitlines()):
        name, equals, value = line.partition("=")
        if equals and name == key:
            found = [*found, *value.split()] if value.strip() else []
    return found


def main() -> None:
    embedded = sys.argv[1] == "--embedded"
    drop_ins, command = ([EMBEDDED], sys.argv[2:]) if embedded else ([], sys.argv[1:])

    def last(key: str) -> str:
        return values(key, *drop_ins)[-1]

    os.umask(int(last("UMask"), 8))
    calls = _allowed_calls(*drop_ins)
    if last("DevicePolicy") == "closed":
        _restrict_devices(values("DeviceAllow", *drop_ins))
    _drop_capabilities(values("CapabilityBoundingSet", *drop_ins))
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _restrict_families()
    if last("MemoryDenyWriteExecute") == "yes":
        _deny_written_code()
    if last("RestrictSUIDSGID") == "yes":
        _deny_set_id_files()
    if last("RestrictNamespaces") == "~cgroup":
        _deny_cgroup_namespaces()
    allowing = Filter(_ERRNO | errno.EPERM)
    for name in calls:
        allowing.add(_ALLOW, name)
    allowing.load()
    os.execvp(command[0], command)


def _has(argument: int, bits: int) -> _Comparison:
    return _Comparison(argument, _MASKED_EQUAL, bits, bits)


def _restrict_devices(allowed: list[str]) -> None:
    """In a cgroup of this process; `remove_devices` removes it when the process has ended."""
    if not DEVICES.exists():
        return
    cgroup = _cgroup(os.getpid())
    cgroup.mkdir()
    (cgroup / "devices.deny").write_text("a")
    for rule in (*_CLOSED, *map(_device_rule, allowed[::2], allowed[1::2])):
        (cgroup / "devices.allow").write_text(rule)
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))


def remove_devices(pid: int) -> None:
    """Remove the cgroup that a command with this process id has had."""
    with contextlib.suppress(FileNotFoundError):
        _cgroup(pid).rmdir()


def _cgroup(pid: int) -> Path:
    return DEVICES / f"vmsandbox-unit-{pid}"


def _device_rule(name: str, access: str) -> str:
    if name == "block-*":
        return f"b *:* {access}"
    try:
        number = os.stat(name).st_rdev
    except FileNotFoundError:
        return _CLOSED[0]  # systemd passes over it as well
    return f"c {os.major(number)}:{os.minor(number)} {access}"


def _deny_written_code() -> None:
    denying = Filter(_ALLOW)
    denying.add(_ERRNO | errno.EPERM, "mmap", _has(2, _WRITE | _EXECUTE))
    for name in ("mprotect", "pkey_mprotect"):
        denying.add(_ERRNO | errno.EPERM, name, _has(2, _EXECUTE))
    denying.add(_ERRNO | errno.EPERM, "shmat", _has(2, _SHM_EXEC))
    denying.load()


def _deny_set_id_files() -> None:
    denying = Filter(_ALLOW)
    for bit in _SET_ID:
        for name, argument in _MODES.items():
            denying.add(_ERRNO | errno.EPERM, name, _has(argument, bit))
        for name, flags in _OPENS.items():
            denying.add(_ERRNO | errno.EPERM, name, _has(flags, os.O_CREAT), _has(flags + 1, bit))
    denying.add(_ERRNO | errno.ENOSYS, "openat2")
    denying.load()


def _deny_cgroup_namespaces() -> None:
    denying = Filter(_ALLOW)
    denying.add(_ERRNO | errno.EPERM, "unshare", _has(0, _NEW_CGROUP))
    denying.add(_ERRNO | errno.EPERM, "clone", _has(0, _NEW_CGROUP))
    denying.add(_ERRNO | errno.EPERM, "setns", _has(1, _NEW_CGROUP))
    denying.add(_ERRNO | errno.EPERM, "setns", _Comparison(1, _EQUAL, 0, 0))
    denying.add(_ERRNO | errno.ENOSYS, "clone3")
    denying.load()


def _drop_capabilities(kept: Iterable[str]) -> None:
    names = subprocess.run(["capsh", "--decode=1ffffffffff"], capture_output=True, text=True, check=True).stdout
    for number, name in enumerate(names.strip().partition("=")[2].split(",")):
        if name.upper() not in kept:
            assert ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) == 0


def _restrict_families() -> None:
    denying = Filter(_ALLOW)
    families = {getattr(socket, name) for name in values("RestrictAddressFamilies")}
    for family in set(range(_FAMILIES)) - families:
        denying.add(_ERRNO | errno.EAFNOSUPPORT, "socket", _Comparison(0, _EQUAL, family, 0))
    denying.load()


def _allowed_calls(*drop_ins: Path) -> set[str]:
    """Later lines take away where they begin with ~ (systemd.exec(5), SystemCallFilter=)."""
    allowed: set[str] = set()
    for line in (line for file in (UNIT, *drop_ins) for line in file.read_text().splitlines()):
        key, _, value = line.partition("=")
        if key == "SystemCallFilter":
            calls = {call for word in value.removeprefix("~").split() for call in _expanded(word)}
            allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed | set(_expanded("@default"))


def _expanded(word: str) -> list[str]:
    if not word.startswith("@"):
        return [word]
    return [call for member in _groups()[word] for call in _expanded(member)]


@cache
def _groups() -> dict[str, list[str]]:
    """Return systemd's groups of system calls."""
    command = ["systemd-analyze", "--no-pager", "syscall-filter"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    groups: dict[str, list[str]] = {}
    for line in printed.splitlines():
        if line.startswith("@"):
            current = groups.setdefault(line.strip(), [])
        elif line.startswith(" ") and not line.strip().startswith("#"):
            current.append(line.strip())
    return groups


if __name__ == "__main__":
    main()
