"""A root in which the package lives: what is started there by hand as systemd would start it, and what the root has."""

import hashlib
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.root import Root

_HIERARCHIES = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "memory", "pids", "cpuacct", "blkio", "cpuset")
"""The controllers of version 1 in which a machine may have a cgroup."""
_CHANGING = re.compile(
    "/(dev|proc|run|sys|tmp|packages|root|var/(cache/(apt|debconf|ldconfig|man)|lib/(apt|dpkg)|log|tmp))/"
    # The package's user stays, as Debian's policy has it; libvirt keeps what it has found out about QEMU.
    "|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|/etc/(ld.so.cache|\\.pwd\\.lock)$|/var/(cache|lib)/libvirt/"
)


def files(root: Root) -> dict[str, str]:
    """Return what is in a root, by path: the content's digest, a link's target, or the kind. No packages' own state."""
    found = {}
    for directory, names, others in os.walk(root.path):
        for name in (*names, *others):
            path = Path(directory) / name
            place = f"/{path.relative_to(root.path)}"
            if not _CHANGING.match(f"{place}/") and not _CHANGING.match(place):
                found[place] = _content(path)
    return found


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"


def processes(root: Root) -> list[str]:
    """Return the command lines of a root's processes, without the one that holds the root, and those that look."""
    script = 'for p in /proc/[0-9]*; do [ $p = /proc/1 ] || tr "\\0" " " <$p/cmdline; echo; done 2>/dev/null'
    return [
        line for line in root.run("sh", "-c", script).stdout.splitlines() if line.strip() and "/proc/[0-9]" not in line
    ]


@contextmanager
def own_cgroups() -> Iterator[list[Path]]:
    """Make cgroups that a root sees in place of the hierarchies of version 1. Its processes end before the context."""
    name = f"life-of-a-package-{os.getpid()}"
    cgroups = [path / name for controller in _CONTROLLERS if (path := _HIERARCHIES / controller).is_dir()]
    for cgroup in cgroups:
        cgroup.mkdir()
        for kind in ("cpuset.cpus", "cpuset.mems"):  # a new one has none
            if (cgroup / kind).exists():
                (cgroup / kind).write_text((cgroup.parent / kind).read_text())
    try:
        yield cgroups
    finally:
        for cgroup in cgroups:
            for left in (*sorted(cgroup.rglob("*/"), reverse=True), cgroup):
                left.rmdir()


@contextmanager
def libvirtd(root: Root) -> Iterator[None]:
    """The system's libvirt, which the unit wants started before it."""
    root.run("virtlogd", "--daemon")
    log = (root.path / "root/libvirtd.log").open("w")
    command = root.command("tini", "-s", "--", "libvirtd")
    with log, subprocess.Popen(command, env=root.environment, stdout=log, stderr=log) as process:
        try:
            root.run("sh", "-c", "until virsh -q -c qemu:///system list; do sleep 0.2; done")
            yield
        finally:
            process.terminate()


@contextmanager
def service(root: Root) -> Iterator[None]:
    """The daemon as its unit starts it, ended by SIGTERM."""
    unit = (root.path / "lib/systemd/system/vmsandbox.service").read_text()
    started = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert started
    log = (root.path / "root/serve.log").open("a")
    with (
        log,
        subprocess.Popen(root.command(*started[1].split()), env=root.environment, stdout=log, stderr=log) as process,
    ):
        try:
            root.run("sh", "-c", "timeout 120 sh -c 'until vmsandbox pods; do sleep 0.2; done'")
            yield
        finally:
            root.run("sh", "-c", "kill -TERM $(pgrep -f 'vmsandbox serve')", check=False)
            process.wait(timeout=60)


def at_a_terminal(root: Root, command: str, typed: str) -> str:
    """Run a command whose standard streams are a terminal, type into it, and return what is to be read there."""
    keyboard, terminal = pty.openpty()
    shell = root.command("setsid", "--ctty", "--wait", "sh", "-c", command)
    with subprocess.Popen(shell, env=root.environment, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        os.write(keyboard, typed.encode())
        read = b""
        try:
            while piece := os.read(keyboard, 65536):
                read += piece
        except OSError:  # EIO: nobody has the terminal any more
            pass
        os.close(keyboard)
        assert process.wait(timeout=60) == 0, read
    return read.decode()
