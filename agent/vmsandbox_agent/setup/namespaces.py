"""The namespaces that a pod's containers share beside the guest's own: for PIDs, and for users where the pod has one.

A process holds them, as a pause container does elsewhere. It is PID 1 of the pod's PID namespace: there it cannot be
killed by the containers, and with SIGCHLD ignored the kernel reaps the orphans that it inherits.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import NoReturn

from vmsandbox.protocol.messages import UserNamespaceMapping
from vmsandbox_agent import syscalls
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.reaper import Reaper
from vmsandbox_agent.settings import Settings

_UNKILLABLE = "-999"
"""Score of the holder for the OOM killer, as in a pause container."""


class PodNamespaces:
    """Makes the holder when a container first asks for a namespace of the pod."""

    def __init__(self, settings: Settings, reaper: Reaper) -> None:
        """Nothing is held yet."""
        self.users: UserNamespaceMapping | None = None
        """The pod's mapping, from `ConfigureGuest`; None: the guest's users are the containers'."""
        self._settings = settings
        self._reaper = reaper
        self._holder = 0

    def pid(self) -> Path:
        """The pod's PID namespace (namespaces(7)). Raises AgentError when it cannot be made."""
        return self._path("pid")

    def user(self) -> Path | None:
        """The pod's user namespace, if it has one. Raises AgentError when it cannot be made."""
        return self._path("user") if self.users is not None else None

    async def end(self) -> None:
        """End the holder, and with it all processes in its PID namespace; return when it is reaped."""
        if self._holder:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._holder, signal.SIGKILL)
                await self._reaper.watch(self._holder)

    def owner(self, gid: int) -> tuple[int, int]:
        """Return the guest's numbers of root and a group of the pod's containers."""
        return self.user_and_group(0, gid)

    def user_and_group(self, uid: int, gid: int) -> tuple[int, int]:
        """Return the guest's numbers of a user and a group of the pod's containers."""
        return (uid, gid) if self.users is None else (self.users.first_uid + uid, self.users.first_gid + gid)

    def _path(self, kind: str) -> Path:
        if not self._holder or not Path(f"/proc/{self._holder}/ns/{kind}").exists():
            self._holder = self._hold()
        return Path(f"/proc/{self._holder}/ns/{kind}")

    def _hold(self) -> int:
        flags = syscalls.CLONE_NEWPID | (syscalls.CLONE_NEWUSER if self.users else 0)
        try:
            pid = _fork_holder(self._settings.holder, flags, self.users)
        except ValueError:
            raise AgentError("internal", "the holder of the pod's namespaces did not start") from None
        with contextlib.suppress(OSError):  # Where the agent itself may not, the holder is a victim as any other.
            Path(f"/proc/{pid}/oom_score_adj").write_text(_UNKILLABLE)
        return pid


def _fork_holder(command: tuple[str, ...], flags: int, users: UserNamespaceMapping | None) -> int:
    """The pid of a new holder. It is forked twice: unshare(2) moves only children into a PID namespace."""
    report, reporting = os.pipe2(os.O_CLOEXEC)
    permission, permitting = os.pipe2(os.O_CLOEXEC)
    helper = os.fork()
    if not helper:
        os.close(permitting)
        _help(command, flags, reporting, permission)
    os.close(reporting)
    os.close(permission)
    try:
        if os.read(report, 1) and users is not None:
            _map_users(helper, users)
        os.write(permitting, b"\n")
        return int(os.read(report, 16))
    finally:
        os.close(report)
        os.close(permitting)


def _help(command: tuple[str, ...], flags: int, reporting: int, permission: int) -> NoReturn:
    """In the helper: make the namespaces, have their users mapped, and fork the holder into them."""
    try:
        signal.set_wakeup_fd(-1)
        syscalls.unshare(flags)
        os.write(reporting, b"\n")
        os.read(permission, 1)
        if flags & syscalls.CLONE_NEWUSER:
            os.setgroups([])
            os.setgid(0)
            os.setuid(0)
        holder = os.fork()
        if not holder:
            _hold_for_ever(command)
        os.write(reporting, b"%d" % holder)
    finally:
        os._exit(0)


def _hold_for_ever(command: tuple[str, ...]) -> NoReturn:
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.execvpe(command[0], command, {"PATH": os.environ.get("PATH", os.defpath)})  # noqa: S606 - no shell
    finally:
        os._exit(1)


def _map_users(helper: int, users: UserNamespaceMapping) -> None:
    Path(f"/proc/{helper}/uid_map").write_text(f"0 {users.first_uid} {users.uids}\n")
    Path(f"/proc/{helper}/gid_map").write_text(f"0 {users.first_gid} {users.gids}\n")
