"""A real dockerd for tests: Debian's, with everything in directories and a network namespace of its own.

It starts a containerd for itself, and its containers are in machines of a test's daemon.
"""

import contextlib
import os
import pty
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.standins.images import BUSYBOX
from tests.support import own
from tests.support.podman import Terminal, write_command
from tests.support.waiting import eventually

_UNPACKED = "/var/cache/vmsandbox/docker/usr"
"""Where setup puts it, on a host that has none."""
_PATH = f"/usr/sbin:/usr/bin:{_UNPACKED}/sbin:{_UNPACKED}/bin"
DOCKERD = shutil.which("dockerd", path=_PATH)
_CLIENT = shutil.which("docker", path=_PATH) or "docker"
IMAGE = "busybox:test"
CGROUPS = f"vmsdocker{own.NUMBER}"


@dataclass(frozen=True)
class Docker:
    """The commands of one docker."""

    directory: Path

    def line(self, *arguments: str | Path) -> list[str]:
        """Return a command line."""
        return [_CLIENT, "--host", f"unix://{self.directory}/docker.sock", *map(str, arguments)]

    def run(self, *arguments: str | Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, whatever its exit status."""
        line = self.line(*arguments)
        return subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=240, check=False)

    def output(self, *arguments: str | Path) -> str:
        """Return what a command prints that has to succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def at_terminal(self, *arguments: str) -> Iterator[Terminal]:
        """Run a command at a terminal; it is killed at the end of the context if it runs."""
        pid, fd = pty.fork()
        if not pid:
            line = self.line(*arguments)
            os.execv(line[0], line)
        try:
            yield Terminal(pid, fd)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.close(fd)

    def remove_all(self) -> None:
        """Remove all containers."""
        if every := self.output("ps", "--all", "--quiet").split():
            self.output("rm", "--force", *every)


@contextlib.contextmanager
def running_docker(directory: Path, socket: Path, registries: Path) -> Iterator[Docker]:
    """Run dockerd, which holds the image `IMAGE`; its containers are removed in the end.

    Args:
        directory: is its own, in a file system on which overlays can be made.
        socket: of the daemon's OCI door.
        registries: registries.conf with the registry of the stand-in images.
    """
    docker, archive = Docker(directory), directory / "busybox.tar"
    copying = ["skopeo", "--registries-conf", registries, "copy", "--quiet"]
    subprocess.run([*copying, f"docker://{BUSYBOX}", f"docker-archive:{archive}:{IMAGE}"], check=True)
    with (directory / "dockerd.log").open("wb") as log:
        line = ["unshare", "--net", "--", *_daemon(directory, write_command(directory, socket))]
        daemon = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        eventually(lambda: docker.run("version").returncode == 0)
        docker.output("load", "--input", archive)
        yield docker
    finally:
        with contextlib.suppress(AssertionError):
            docker.remove_all()
        daemon.terminate()
        daemon.wait(60)
        for mounted in (directory / "exec/netns/default", directory / "data"):
            subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)
        for cgroup in Path("/sys/fs/cgroup").glob(f"*/{CGROUPS}"):
            cgroup.rmdir()


def _daemon(directory: Path, runtime: Path) -> list[str]:
    options = {
        "data-root": directory / "data",
        "exec-root": directory / "exec",
        "pidfile": directory / "docker.pid",
        "host": f"unix://{directory}/docker.sock",
        "config-file": directory / "daemon.json",
        "bip": "10.195.0.1/24",
        "add-runtime": f"vmsandbox={runtime}",
        "default-runtime": "vmsandbox",
        "exec-opt": "native.cgroupdriver=cgroupfs",
        "cgroup-parent": f"/{CGROUPS}",
        "iptables": "false",
        "ip6tables": "false",
        "ip-forward": "false",
        "userland-proxy": "false",
    }
    (directory / "daemon.json").write_text("{}")
    return [str(DOCKERD), *(f"--{name}={value}" for name, value in options.items())]
