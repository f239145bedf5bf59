"""One daemon for all conformance tests, and the pods that tests share: a machine's start is what costs time.

A pod is made when the first test asks for it. Tests leave shared pods as they found them: containers have names of
their own, and nothing is changed that another test looks at.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conformance import Serving, serving
from tests.support.conformance_client import Container, Cri, Pod

PRIVILEGED = {"for": "privileged containers"}
"""The labels of a pod."""


@pytest.fixture(scope="package")
def daemon() -> Iterator[Serving]:
    if os.geteuid() != 0:
        pytest.skip("machines and their networks need root")
    with serving() as running:
        yield running


@pytest.fixture(scope="package")
def cri(daemon: Serving) -> Cri:
    return daemon.cri


@pytest.fixture(scope="package")
def pod(cri: Cri) -> Iterator[Pod]:
    """A plain pod."""
    with cri.pod() as pod:
        yield pod


@pytest.fixture(scope="package")
def waiting(pod: Pod) -> Container:
    """A container of the plain pod that waits, to run commands in."""
    return pod.start()


@pytest.fixture(scope="package")
def privileged_pod(cri: Cri) -> Iterator[Pod]:
    with cri.pod(labels=PRIVILEGED, linux={"security_context": {"privileged": True}}) as pod:
        yield pod


@pytest.fixture(scope="package")
def stopped(cri: Cri) -> Iterator[Pod]:
    """A pod that ran."""
    with cri.pod("small") as pod:
        pod.stop()
        yield pod


@pytest.fixture
def empty_dir(tmp_path: Path) -> Iterator[Path]:
    """An emptyDir of medium Memory, as a kubelet makes it: 4 MiB, for the group 1000."""
    volume = tmp_path / "pods" / "1234" / "volumes" / "kubernetes.io~empty-dir" / f"cache-{os.urandom(4).hex()}"
    volume.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M,mode=2770,gid=1000", "tmpfs", volume], check=True)
    yield volume
    subprocess.run(["umount", "-l", volume], check=True)
