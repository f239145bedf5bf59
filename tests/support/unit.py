"""A command run under what the systemd unit says of its service, on a machine where no systemd runs.

    python -m tests.support.unit COMMAND...

Of systemd.exec(5) it does CapabilityBoundingSet=, NoNewPrivileges=, RestrictAddressFamilies=, SystemCallFilter= and
UMask=, by the same system calls as systemd.
"""

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

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL = 4
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


def values(key: str) -> list[str]:
    """What the unit says of a key, in all its lines together, as words."""
    lines = UNIT.read_text().splitlines()
    return [word for line in lines if line.startswith(f"{key}=") for word in line.partition("=")[2].split()]


def main() -> None:
    os.umask(int(values("UMask")[0], 8))
    capabilities, calls = values("CapabilityBoundingSet"), _allowed_calls()
    _drop_capabilities(capabilities)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _restrict_families()
    allowing = Filter(_ERRNO | errno.EPERM)
    for name in calls:
        allowing.add(_ALLOW, name)
    allowing.load()
    os.execvp(sys.argv[1], sys.argv[1:])


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


def _allowed_calls() -> set[str]:
    """Later lines take away where they begin with ~ (systemd.exec(5), SystemCallFilter=)."""
    allowed: set[str] = set()
    for line in UNIT.read_text().splitlines():
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
    """Of system calls, as systemd has them."""
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
