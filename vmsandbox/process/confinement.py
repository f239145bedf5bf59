"""Confinement: the command line that starts a program with less than this process has.

Programs that parse bytes of a guest, an image or a registry are started by it. util-linux does the work: unshare(1),
choom(1), prlimit(1) and setpriv(1) each set one part and then execute the next, so that no code of ours runs between
fork and exec.
"""

import pwd
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vmsandbox.errors import FailedPrecondition

_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
"""A line for each profile that the kernel has: its name, and its mode in brackets."""

TOOLS = ("choom", "unshare", "prlimit", "setpriv")
"""The programs of util-linux that a confined command begins with."""

_ENDS_WITH_PARENT = ("--pdeathsig", "KILL")


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group ids that a program runs with; it has no supplementary groups."""

    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> "Account":
        """Look up a system user and its primary group.

        Raises:
            FailedPrecondition: the host has no such user.
        """
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise FailedPrecondition(
                f"the user {name} does not exist",
                hint="`make setup` makes it, and so does `systemd-sysusers` with packaging/sysusers.d/vmsandbox.conf",
            ) from None
        return cls(entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of each process of a program (setrlimit(2)); None keeps the limit of this process."""

    memory: int | None = None
    """Bytes of private memory that can be written (RLIMIT_DATA): the heap, anonymous mappings and stacks."""
    file_size: int | None = None
    """Bytes of the largest file that it may write (RLIMIT_FSIZE)."""
    open_files: int | None = 1024
    """Descriptors (RLIMIT_NOFILE)."""
    processes: int | None = None
    """Processes and threads of its user, in all its programs together (RLIMIT_NPROC)."""

    def options(self) -> list[str]:
        """Return the options of prlimit(1). A program that crashes leaves no core file."""
        limits = {
            "core": 0, "data": self.memory, "fsize": self.file_size,
            "nofile": self.open_files, "nproc": self.processes,
        }  # fmt: skip
        return [f"--{name}={value}:{value}" for name, value in limits.items() if value is not None]


@dataclass(frozen=True, slots=True)
class Confinement:
    """Everything that a confined program has and does not have. It can never gain privileges (no_new_privs).

    Only root can start one: namespaces and other users need it.
    """

    account: Account | None = None
    """The user of the process; None: root, for a program that changes its user itself."""
    capabilities: tuple[str, ...] = ()
    """Capabilities (capabilities(7), in small letters, without `cap_`) that it keeps as root. Other users have none."""
    namespaces: tuple[str, ...] = ("net", "ipc", "uts")
    """New, empty namespaces, by their options of unshare(1).

    With `pid`, all that it started ends with it, and it has a /proc of its own (and so a mount namespace): in the
    host's it could read and write the memory of other processes of its user.
    """
    limits: Limits = field(default_factory=Limits)
    oom_score: int = 500
    """The number that the OOM killer adds to the score of the process (proc(5), oom_score_adj)."""
    dies_with_parent: bool = False
    """Whether it is killed when the thread that started it ends."""
    profile: str | None = None
    """The AppArmor profile of packaging/apparmor.d that it gets, where the kernel has it loaded."""

    def wrap(self, command: Sequence[str]) -> list[str]:
        """Return the command line that confines `command`; its process id stays, except with a `pid` namespace."""
        return [
            # Before the namespaces: choom(1) writes to /proc/PID, whose numbers are those outside.
            "choom", "--adjust", str(self.oom_score), "--",
            *self._outer_parent(),
            *self._new_namespaces(),
            "prlimit", *self.limits.options(), "--",
            "setpriv", *self._privileges(), "--",
            *command,
        ]  # fmt: skip

    def _outer_parent(self) -> list[str]:
        """For a `pid` namespace, whose first process has unshare(1) for its parent."""
        return ["setpriv", *_ENDS_WITH_PARENT, "--"] if self.dies_with_parent and "pid" in self.namespaces else []

    def _new_namespaces(self) -> list[str]:
        if not self.namespaces:
            return []
        # What the host unmounts is unmounted for this program as well (slave), where the host's mounts are shared.
        own = ["--fork", "--kill-child=KILL", "--propagation=slave", "--mount-proc"] if "pid" in self.namespaces else []
        return ["unshare", *(f"--{name}" for name in self.namespaces), *own, "--"]

    def _privileges(self) -> list[str]:
        ids = [f"--reuid={self.account.uid}", f"--regid={self.account.gid}"] if self.account else []
        kept = ",".join(["-all", *(f"+{name}" for name in self.capabilities)])
        return [
            *ids, "--clear-groups", "--no-new-privs",
            f"--bounding-set={kept}", "--inh-caps=-all", "--ambient-caps=-all",
            *(_ENDS_WITH_PARENT if self.dies_with_parent else ()),
            *((f"--apparmor-profile={self.profile}",) if self.profile and _is_loaded(self.profile) else ()),
        ]  # fmt: skip


def unprotected(command: Sequence[str], oom_score: int) -> Sequence[str]:
    """Return the command line that starts `command` as any other process, where its parent's `oom_score` is negative.

    The kernel spares this process when memory runs out (OOMScoreAdjust= of the unit), and children inherit that: one
    that takes too much memory would never be killed. To raise the number needs no privilege (choom(1)).
    """
    return ["choom", "--adjust", "0", "--", *command] if oom_score < 0 else command


def _is_loaded(profile: str) -> bool:
    """Return whether the kernel has a profile of this name; no profile is loaded where AppArmor is off or absent."""
    try:
        lines = _PROFILES.read_text().splitlines()
    except OSError:
        return False
    return any(line.rpartition(" ")[0] == profile for line in lines)
