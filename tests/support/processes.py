"""The rights of processes, from the kernel (proc(5)): read for a test, and printed as a table."""

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
"""Kinds of namespaces."""

_NEARLY_ALL = 30
"""Capabilities: what root has in a container, which is where these tests may run."""


@dataclass(frozen=True)
class Privileges:
    """The rights of one process."""

    pid: int
    name: str
    users: frozenset[int]
    """Real, effective, saved and that for files."""
    groups: frozenset[int]
    """The same, and the supplementary ones."""
    capabilities: tuple[str, ...] | None
    """Effective ones; None: all."""
    no_new_privs: bool
    seccomp: bool
    namespaces: dict[str, str]
    """The namespaces by kind."""
    limits: dict[str, str]
    """Hard ones, by their names in /proc/PID/limits."""
    cgroups: frozenset[str]
    """Paths in all hierarchies."""
    oom_score: int

    @property
    def apart(self) -> tuple[str, ...]:
        """The kinds of namespaces in which it is not where this process is."""
        return tuple(kind for kind in KINDS if self.namespaces[kind] != _namespace("self", kind))


def privileges(pid: int) -> Privileges:
    """Read what a process may do."""
    directory = Path(f"/proc/{pid}")
    lines = (line.partition(":") for line in (directory / "status").read_text().splitlines())
    status = {name: value.split() for name, _, value in lines}
    return Privileges(
        pid=pid,
        name=status["Name"][0],
        users=frozenset(map(int, status["Uid"])),
        groups=frozenset(map(int, [*status["Gid"], *status["Groups"]])),
        capabilities=_capabilities(int(status["CapEff"][0], 16)),
        no_new_privs=status["NoNewPrivs"] == ["1"],
        seccomp=status["Seccomp"] == ["2"],
        namespaces={kind: _namespace(str(pid), kind) for kind in KINDS},
        limits=_limits((directory / "limits").read_text()),
        cgroups=frozenset(line.split(":", 2)[2] for line in (directory / "cgroup").read_text().splitlines()),
        oom_score=int((directory / "oom_score_adj").read_text()),
    )


def table(processes: Iterable[Privileges]) -> str:
    """A table of Markdown, as docs/security.md has it."""
    head = "| process | user | groups | capabilities | new privileges | seccomp | apart | limits | OOM score | cgroup |"
    return "\n".join([head, "|---" * 10 + "|", *map(_row, processes)])


def _row(process: Privileges) -> str:
    limits = {"nofile": "Max open files", "nproc": "Max processes", "fsize": "Max file size", "data": "Max data size"}
    capabilities = "all" if process.capabilities is None else " ".join(process.capabilities) or "none"
    cells = (
        process.name,
        " ".join(map(str, sorted(process.users))),
        " ".join(map(str, sorted(process.groups))) or "none",
        capabilities,
        "no" if process.no_new_privs else "yes",
        "yes" if process.seccomp else "no",
        " ".join(process.apart) or "nothing",
        ", ".join(f"{short} {process.limits[name]}" for short, name in limits.items()),
        str(process.oom_score),
        " ".join(path for path in process.cgroups if path.startswith("/vmsandbox/")) or "that of its parent",
    )
    return f"| {' | '.join(cells)} |"


def _capabilities(mask: int) -> tuple[str, ...] | None:
    if mask.bit_count() >= _NEARLY_ALL:
        return None
    decoded = subprocess.run(["capsh", f"--decode={mask:x}"], capture_output=True, text=True, check=True).stdout
    return tuple(name.removeprefix("cap_") for name in decoded.strip().partition("=")[2].split(",") if name)


def _namespace(process: str, kind: str) -> str:
    return os.readlink(f"/proc/{process}/ns/{kind}")


def _limits(text: str) -> dict[str, str]:
    """Their names have up to 26 characters."""
    return {line[:26].strip(): line[26:].split()[1] for line in text.splitlines()[1:]}
