"""`vmsandbox run` of pods that leave traps for the host, or meet one on it."""

import os
from pathlib import Path

import pytest

from tests.e2e.test_run import container, pod
from tests.support.hung import hung
from tests.support.pods import Node

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="machines and their networks need root"),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("nothing_is_left_of_pods"),
]

TRAPS = """
cd /data
mkfifo fifo; ln -s /etc link; ln -s link loop; mkdir d; chmod 0 d
deep=n/n/n/n/n/n/n/n/n/n/n/n/n/n/n/n
i=0; while [ $i -lt 1200 ]; do mkdir -p $deep && cd -P $deep || exit 1; i=$((i+16)); done
echo nested $i
"""
"""Levels beyond Python's stack. tests/unit/sandbox/machines/test_teardown.py has those beyond the longest path."""


def test_a_volume_full_of_traps_is_removed_with_its_pod(node: Node) -> None:
    mount = {"name": "data", "mountPath": "/data"}
    volumes = [{"name": "data", "emptyDir": {}}]
    ran = node.run(pod(container("trapper", TRAPS, volumeMounts=[mount]), volumes=volumes))
    assert ran.status == 0, ran.stderr
    assert ran.stdout.endswith("nested 1200\n")


def test_a_host_path_that_hangs_is_an_error_that_names_it(node: Node, tmp_path: Path) -> None:
    with hung(tmp_path / "dead") as dead:
        volumes = [{"name": "data", "hostPath": {"path": str(dead), "type": "Directory"}}]
        ran = node.run(pod(container("never", "true"), volumes=volumes))
    assert ran.status == 125
    assert f"{dead} did not answer" in ran.stderr


def test_a_manifest_that_is_a_fifo_is_an_error(node: Node, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pod.yaml")
    ran = node.vmsandbox("run", str(tmp_path / "pod.yaml"))
    assert ran.status == 125
    assert "it is a FIFO" in ran.stderr
