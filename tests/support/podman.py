"""A podman whose containers are in machines of a test's daemon; its storage is below a directory of its own."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.standins.images import BUSYBOX

CHECKOUT = Path(__file__).parents[2]

CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "vmsandbox"
[engine.runtimes]
vmsandbox = ["{runtime}"]
"""
"""Raising limits is refused on some machines that run the tests."""

RUNTIME = """#!{python} -IS
import sys
sys.path.insert(0, "{checkout}")
sys.argv[1:1] = ["--socket", "{socket}"]
from vmsandbox.oci_command.__main__ import main
sys.exit(main())
"""
"""The command as `make install` makes it, and its daemon: podman's own clean-up passes no flags to a runtime."""


@dataclass(frozen=True)
class Podman:
    """The commands of one podman."""

    directory: Path
    registries: Path

    def line(self, *arguments: str | Path) -> list[str]:
        """Return a command line."""
        places = ("root", "runroot", "tmpdir")
        own = [word for place in places for word in (f"--{place}", str(self.directory / place))]
        return ["podman", *own, *map(str, arguments)]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command."""
        settings = {
            "CONTAINERS_CONF": self.directory / "containers.conf",
            "CONTAINERS_REGISTRIES_CONF": self.registries,
        }
        return {**os.environ, **{name: str(path) for name, path in settings.items()}}

    def run(self, *arguments: str | Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, whatever its exit status."""
        return subprocess.run(
            self.line(*arguments),
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def output(self, *arguments: str | Path) -> str:
        """Return what a command prints that has to succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def mounted(self, container: str) -> Iterator[Path]:
        """Mount the root of a container that has ended, or was never started.

        Its clean-up comes first: one that came meanwhile would leave its /dev/shm mounted, and `rm` fail.
        """
        self.output("container", "cleanup", container)
        try:
            yield Path(self.output("mount", container).strip())
        finally:
            self.output("umount", container)

    def oci(self, *arguments: str) -> str:
        """Return what the runtime's command prints, which has to succeed."""
        return subprocess.run(
            [self.directory / "vmsandbox-oci", *arguments], check=True, capture_output=True, text=True, timeout=240
        ).stdout

    @contextlib.contextmanager
    def at_terminal(self, *arguments: str) -> Iterator["Terminal"]:
        """Run a command at a terminal; it is killed at the end of the context if it runs."""
        pid, fd = pty.fork()
        if not pid:
            os.execvpe("podman", self.line(*arguments), self.environment)
        terminal = Terminal(pid, fd)
        try:
            yield terminal
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.close(fd)

    def processes(self) -> list[int]:
        """Return the processes that stand for containers on the host."""
        runtime = os.fsencode(self.directory / "vmsandbox-oci")
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if runtime in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found


@dataclass
class Terminal:
    """A terminal with a command at it."""

    pid: int
    fd: int
    drawn: bytes = b""

    def type(self, text: str) -> None:
        """Type."""
        os.write(self.fd, text.encode())

    def until(self, text: str) -> None:
        """Return when a text has been drawn since the last call."""
        while text.encode() not in self.drawn:
            self.drawn += os.read(self.fd, 4096)
        self.drawn = self.drawn.partition(text.encode())[2]

    def wait(self) -> int:
        """Return the exit status."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def write_command(directory: Path, socket: Path) -> Path:
    """Write the command for a daemon's socket into a directory; return its path."""
    runtime = directory / "vmsandbox-oci"
    runtime.write_text(RUNTIME.format(python=os.path.realpath(sys.executable), checkout=CHECKOUT, socket=socket))
    runtime.chmod(0o755)
    return runtime


def cgroups_of_containers() -> set[Path]:
    """Return the cgroups of containers of podman, whichever podman has made them."""
    return set(Path("/sys/fs/cgroup").glob("*/libpod_parent/libpod-[0-9a-f]*"))


def podman_of(daemon: Path) -> contextlib.AbstractContextManager[Podman]:
    """A podman whose containers are in machines of the daemon of a directory, with the image of busybox."""
    directory = daemon / "podman"
    directory.mkdir()
    return podman_with_image(directory, daemon / "run/oci.sock", daemon / "registries.conf")


INFRA = ("--infra-image", BUSYBOX, "--infra-command", "/bin/sleep 100000")
"""The infra container of a pod: podman's own needs catatonit, which is not installed everywhere."""


@contextlib.contextmanager
def podman_with_image(directory: Path, socket: Path, registries: Path) -> Iterator[Podman]:
    """A podman that holds the image of busybox; its containers are removed in the end.

    Args:
        directory: is its own, in a file system on which overlays can be made.
        socket: of the daemon's OCI door.
        registries: registries.conf with the registry of the stand-in images.
    """
    runtime = write_command(directory, socket)
    (directory / "containers.conf").write_text(CONTAINERS_CONF.format(runtime=runtime))
    podman = Podman(directory, registries)
    try:
        podman.output("pull", "--quiet", BUSYBOX)
        yield podman
    finally:
        podman.run("rm", "--all", "--force", "--time", "0")
        podman.run("rmi", "--all", "--force")
        podman.run("system", "reset", "--force")
        subprocess.run(["umount", "--lazy", directory / "root/overlay"], check=False, capture_output=True)
