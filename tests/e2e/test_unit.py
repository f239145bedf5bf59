"""The daemon under what its systemd unit allows: capabilities, system calls and address families."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conformance import Serving, serving
from tests.support.conformance_client import Pod, eventually
from tests.support.unit import values

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="machines and their networks need root")


@pytest.fixture(scope="module")
def confined() -> Iterator[Serving]:
    with serving(under=[sys.executable, "-m", "tests.support.unit"]) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def pod(confined: Serving) -> Iterator[Pod]:
    with confined.cri.pod(port_mappings=[{"container_port": 80, "host_port": 18080}]) as made:
        yield made


def test_the_daemon_has_the_units_capabilities_and_no_others(confined: Serving) -> None:
    status = Path(f"/proc/{confined.process.pid}/status").read_text()
    bounding = int(status.partition("CapBnd:")[2].split()[0], 16)
    decoded = subprocess.run(["capsh", f"--decode={bounding:x}"], capture_output=True, text=True, check=True).stdout
    found = set(decoded.strip().partition("=")[2].upper().split(","))
    assert found <= set(values("CapabilityBoundingSet"))
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


def test_statistics_and_status_are_told_under_the_unit(confined: Serving, pod: Pod) -> None:
    assert pod.status().network.ip
    container = pod.start()
    eventually(lambda: container.output("true") == "")
    container.remove()
