"""The daemon under what its systemd unit allows: with a libvirtd, and with the drop-in for a libvirt inside it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.block import MIB
from tests.support.conformance import serving
from tests.support.conformance_client import Cri, Pod, eventually
from tests.support.restartable import restartable_node
from tests.support.unit import EMBEDDED, remove_devices, values

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="machines and their networks need root")

_UNDER = [sys.executable, "-m", "tests.support.unit"]


@dataclass(frozen=True)
class Confined:
    """A daemon under the unit."""

    cri: Cri
    pid: int
    drop_ins: tuple[Path, ...]


@pytest.fixture(scope="module", params=["libvirtd", "embedded"])
def confined(request: pytest.FixtureRequest) -> Iterator[Confined]:
    if request.param == "embedded":
        with serving(under=[*_UNDER, "--embedded"]) as daemon:
            yield Confined(daemon.cri, daemon.process.pid, (EMBEDDED,))
    else:
        with restartable_node(under=_UNDER) as node:
            assert node.process
            pid = node.process.pid
            yield Confined(node.cri, pid, ())
        remove_devices(pid)


@pytest.fixture(scope="module")
def pod(confined: Confined) -> Iterator[Pod]:
    with confined.cri.pod(port_mappings=[{"container_port": 80, "host_port": 18080}]) as made:
        yield made


def test_the_daemon_has_the_units_capabilities_and_no_others(confined: Confined) -> None:
    status = Path(f"/proc/{confined.pid}/status").read_text()
    bounding = int(status.partition("CapBnd:")[2].split()[0], 16)
    decoded = subprocess.run(["capsh", f"--decode={bounding:x}"], capture_output=True, text=True, check=True).stdout
    found = set(decoded.strip().partition("=")[2].upper().split(","))
    assert found <= set(values("CapabilityBoundingSet", *confined.drop_ins))
    assert "CAP_SYS_ADMIN" in found
    assert "NoNewPrivs:\t1" in status


def test_a_pod_with_a_volume_and_a_host_port_runs_and_goes_under_the_unit(pod: Pod, tmp_path: Path) -> None:
    mount = {"container_path": "/v", "host_path": str(tmp_path)}
    ended = pod.run("sh", "-c", "echo kept >/v/file; chown 1000 /v/file; chmod 4755 /v/file; echo done", mounts=[mount])
    assert ended.stdout == "done\n"
    assert (tmp_path / "file").read_text() == "kept\n"
    container = pod.start(mounts=[mount])
    assert container.output("cat", "/v/file") == "kept\n"
    container.stop(timeout=0)
    container.remove()


def test_a_raw_block_volume_gets_its_loop_device_and_its_node_under_the_unit(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"on the host".ljust(MIB, b"\0"))
    device = {"container_path": "/dev/xvda", "host_path": str(tmp_path / "disk"), "permissions": "mrw"}
    script = "head -c 11 /dev/xvda; printf 'in the pod!' | dd of=/dev/xvda conv=fsync,notrunc 2>/dev/null"
    assert pod.run("sh", "-c", script, devices=[device]).stdout == "on the host"
    assert (tmp_path / "disk").read_bytes().startswith(b"in the pod!")


def test_statistics_and_status_are_told_under_the_unit(confined: Confined, pod: Pod) -> None:
    assert pod.status().network.ip
    container = pod.start()
    eventually(lambda: container.output("true") == "")
    container.remove()
