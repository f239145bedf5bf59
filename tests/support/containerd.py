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
from tests.support.conformance_client import eventually
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

HOSTS = """
server = "http://{registry}/v2/{name}"
[host."http://{registry}/v2/{name}"]
override_path = true
"""

_NUMBER = os.getpid() % 250
BRIDGE = f"vmsctrd{_NUMBER}"


@dataclass
class Containerd:
    """A containerd that runs, or is away."""

    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Of its CRI."""
        return self.directory / "containerd.sock"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = ["containerd", "--config", str(self.directory / "config.toml")]
        with (self.directory / "containerd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(lambda: _listens(self.socket))

    def stop(self) -> None:
        """End it; its pods go on."""
        assert self.process
        self.process.terminate()
        self.process.wait(30)


@contextlib.contextmanager
def running_containerd(directory: Path, registry: Registry) -> Iterator[Containerd]:
    """Run containerd with the images of a registry. Its pods are the caller's to remove."""
    directory.mkdir()
    (directory / "config.toml").write_text(CONFIG.format(directory=directory))
    for host in REGISTRIES:
        hosts = directory / "registries" / host / "hosts.toml"
        hosts.parent.mkdir(parents=True)
        hosts.write_text(HOSTS.format(registry=registry.address, name=host))
    (directory / "cni").mkdir()
    (directory / "cni/network.conflist").write_text(json.dumps(_network(directory)))
    containerd = Containerd(directory)
    containerd.start()
    try:
        yield containerd
    finally:
        containerd.stop()
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)


def _network(directory: Path) -> dict[str, object]:
    """A network for those of its pods that are not in the host's; it leads nowhere."""
    ranges = [[{"subnet": f"10.196.{_NUMBER}.0/24"}]]
    ipam = {"type": "host-local", "ranges": ranges, "dataDir": f"{directory}/leases"}
    bridge = {"type": "bridge", "bridge": BRIDGE, "ipam": ipam}
    return {"cniVersion": "0.4.0", "name": "containerd", "plugins": [bridge]}


def _listens(path: Path) -> Path | None:
    with socket.socket(socket.AF_UNIX) as probe:
        return path if probe.connect_ex(os.fspath(path)) == 0 else None
