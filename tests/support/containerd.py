"""A real containerd for tests: Debian's, with everything in a directory of its own, started and stopped here."""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.standins.images import REGISTRIES
from tests.support import own
from tests.support.conformance_client import eventually
from tests.support.images import BuiltImage, archive_of, write_layout
from tests.support.registry import Registry

CONFIG = """
version = 2
root = "{directory}/root"
state = "{directory}/state"
[grpc]
address = "{directory}/containerd.sock"
[ttrpc]
address = "{directory}/ttrpc.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "registry.k8s.io/pause:3.9"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{directory}/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{directory}/registries"
"""

RUNTIME = """
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "{default}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.vmsandbox]
runtime_type = "io.containerd.runc.v2"
pod_annotations = ["vmsandbox/*"]
privileged_without_host_devices = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.vmsandbox.options]
BinaryName = "{command}"
"""
"""The part of the configuration that docs/oci.md gives for `vmsandbox-oci` beside runc."""

HOSTS = """
server = "http://{registry}/v2/{name}"
[host."http://{registry}/v2/{name}"]
override_path = true
"""

BRIDGE = f"vmsctrd{own.NUMBER}"


@dataclass
class Containerd:
    """A containerd that runs, or is away."""

    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """The socket of its CRI."""
        return self.directory / "containerd.sock"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        # Containers under runc ignore what containerd ignores, e.g. SIGHUP where the tests run under nohup(1).
        command = ["env", "--default-signal", "containerd", "--config", str(self.directory / "config.toml")]
        with (self.directory / "containerd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(lambda: _listens(self.socket))

    def ctr(self, *arguments: str | Path) -> str:
        """Run ctr(1), and return what it prints."""
        command = ["ctr", "--address", self.socket, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @contextlib.contextmanager
    def unpacked(self, image: BuiltImage, directory: Path) -> Iterator[Path]:
        """Mount an image's root file system below `directory` for the body; containerd keeps the image.

        Raises:
            CalledProcessError: containerd refuses the image.
        """
        archive = archive_of(write_layout(directory / "layout", {"image": image}), directory / "image.tar")
        name, root = f"unpacked@{image.digest}", directory / "judge"
        root.mkdir()
        self.ctr("images", "import", "--base-name", "unpacked", "--digests", archive)
        try:
            self.ctr("images", "mount", name, root)
            yield root
        finally:
            self.ctr("images", "unmount", "--rm", root)

    def stop(self) -> None:
        """End it; its pods go on."""
        assert self.process
        self.process.terminate()
        self.process.wait(30)


@contextlib.contextmanager
def running_containerd(
    directory: Path, registry: Registry | None = None, runtime: Path | None = None, default: str = "runc"
) -> Iterator[Containerd]:
    """Run containerd, with the images of a registry if there is one. Its pods are the caller's to remove.

    `runtime` is the OCI runtime of a handler `vmsandbox` beside runc; `default`: of pods without a handler.
    """
    directory.mkdir()
    handlers = RUNTIME.format(command=runtime, default=default) if runtime else ""
    (directory / "config.toml").write_text(CONFIG.format(directory=directory) + handlers)
    if registry:
        _write_hosts(directory / "registries", registry)
    (directory / "cni").mkdir()
    (directory / "cni/network.conflist").write_text(json.dumps(_network(directory)))
    containerd = Containerd(directory)
    containerd.start()
    try:
        yield containerd
    finally:
        containerd.stop()
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)


def _write_hosts(directory: Path, registry: Registry) -> None:
    for host in REGISTRIES:
        hosts = directory / host / "hosts.toml"
        hosts.parent.mkdir(parents=True)
        hosts.write_text(HOSTS.format(registry=registry.address, name=host))


def _network(directory: Path) -> dict[str, object]:
    """A network for those of its pods that are not in the host's; it leads nowhere."""
    ranges = [[{"subnet": f"10.196.{own.NUMBER}.0/24"}]]
    ipam = {"type": "host-local", "ranges": ranges, "dataDir": f"{directory}/leases"}
    bridge = {"type": "bridge", "bridge": BRIDGE, "ipam": ipam}
    return {"cniVersion": "0.4.0", "name": "containerd", "plugins": [bridge]}


def _listens(path: Path) -> Path | None:
    with socket.socket(socket.AF_UNIX) as probe:
        return path if probe.connect_ex(os.fspath(path)) == 0 else None
