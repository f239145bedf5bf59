"""`vmsandbox run` as a user runs it: a process of its own, with directories of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import own
from tests.support.accelerators import keep_findings, share_findings

BRIDGE = f"vmsrun{own.NUMBER}"
SUBNET = f"10.195.{own.NUMBER}"


@dataclass(frozen=True)
class Finished:
    """The output of a command, and its exit status."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Node:
    """A node's configuration in a directory of its own."""

    directory: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line of `vmsandbox` with this configuration."""
        return [sys.executable, "-m", "vmsandbox", "--config", str(self.directory / "config.yaml"), *arguments]

    def vmsandbox(self, *arguments: str, stdin: str = "", timeout: float = 180) -> Finished:
        """Run a command to its end."""
        ended = subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        return Finished(ended.returncode, ended.stdout, ended.stderr)

    @contextlib.contextmanager
    def running(self, *manifests: Mapping[str, Any]) -> Iterator[subprocess.Popen[str]]:
        """`vmsandbox run` of a pod, killed when the context is left, should it still run."""
        manifest = self.directory / "pod.yaml"
        manifest.write_text(yaml.safe_dump_all(manifests))
        process = subprocess.Popen(
            self.command("run", str(manifest)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *manifests: Mapping[str, Any], timeout: float = 180) -> Finished:
        """`vmsandbox run` of a pod to its end."""
        return self.vmsandbox("run", "-", stdin=yaml.safe_dump_all(manifests), timeout=timeout)

    def processes(self, name: str) -> list[int]:
        """The processes of a pod of this node whose program's name begins so: qemu, virtiofsd, vhost-device-vsock."""
        mine = str(self.directory).encode()
        return [pid for pid, line in _command_lines() if mine in line and Path(_program(line)).name.startswith(name)]

    def kill(self, name: str) -> None:
        """kill -9."""
        for pid in self.processes(name):
            os.kill(pid, signal.SIGKILL)

    def leftovers(self) -> list[str]:
        """Return the resources of pods: processes, mounts, records of networks, leases, CIDs, and files."""
        found = [f"process {name}" for name in ("qemu", "virtiofsd", "vhost") for _ in self.processes(name)]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [line for line in mounts if str(self.directory) in line]
        patterns = (
            "state/network/attachments/*",
            "run/cids/[0-9]*",
            "run/users/[0-9]*",
            "*/run/*/sandboxes/*",
            "*/run/*/pod",
        )
        found += [str(path) for pattern in patterns for path in self.directory.glob(pattern)]
        leases = (self.directory / "state" / "network").rglob("[0-9a-f]*[.:]*")
        return found + [str(path) for path in leases]


@contextlib.contextmanager
def node(registries_conf: str) -> Iterator[Node]:
    """A node whose directories, images and bridge are its own; the accelerator is what this host's last check found."""
    directory = Path(tempfile.mkdtemp(prefix="vmr-", dir="/run"))
    directory.chmod(0o755)
    try:
        (directory / "registries.conf").write_text(registries_conf)
        (directory / "config.yaml").write_text(yaml.safe_dump(_configuration(directory)))
        share_findings(directory / "state")
        yield Node(directory)
        keep_findings(directory / "state")
    finally:
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)
        shutil.rmtree(directory)


def _configuration(directory: Path) -> dict[str, Any]:
    return {
        "state_directory": str(directory / "state"),
        "run_directory": str(directory / "run"),
        "socket": str(directory / "cri.sock"),
        "machine": {"memory": "128Mi", "boot_deadline": 120},
        "users": own.users(part=1),
        "images": {"registries_conf": str(directory / "registries.conf")},
        "network": {
            "config_directory": str(directory / "cni"),
            "default": {
                "bridge": BRIDGE,
                "subnet_v4": f"{SUBNET}.0/24",
                "subnet_v6": f"fd76:6d73:616e:{own.NUMBER:x}::/64",
            },
        },
    }


def _command_lines() -> Iterator[tuple[int, bytes]]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            with contextlib.suppress(OSError):
                yield int(directory.name), (directory / "cmdline").read_bytes()


def _program(line: bytes) -> str:
    return line.split(b"\0")[0].decode(errors="replace")
