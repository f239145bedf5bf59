"""One daemon for all conformance tests, and the pods that tests share: a machine's start is what costs time.

A pod is made when the first test asks for it. Tests leave shared pods as they found them: containers have names of
their own, and nothing is changed that another test looks at.
"""

import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import certificate
from tests.support.collector import Collector, collecting
from tests.support.conformance import TEMPLATE, Serving, serving
from tests.support.conformance_client import Container, Cri, Pod
from tests.support.scraping import Samples, free_port, samples, scrape
from tests.support.waiting import eventually

_TEMPLATE_DEADLINE = 300.0


@dataclass(frozen=True)
class Scraped:
    """The metrics of a daemon that asks its clients for certificates, and a client that has one."""

    address: str
    directory: Path

    def settings(self) -> dict[str, Any]:
        authority, _ = certificate(self.directory, "authority")
        pem, key = certificate(self.directory, "daemon", "authority")
        return {
            "address": self.address,
            "tls": {"certificate": str(pem), "key": str(key), "client_ca": str(authority)},
        }

    def scrape(self) -> Samples:
        tls = ssl.create_default_context(cafile=self.directory / "authority.pem")
        tls.load_cert_chain(*certificate(self.directory, "prometheus", "authority"))
        return samples(scrape(f"https://{self.address}/metrics", tls))


PRIVILEGED = {"for": "privileged containers"}
"""The labels of a pod."""


@pytest.fixture(scope="package")
def collected() -> Iterator[tuple[Collector, str]]:
    """A collector of the daemon's spans, and its address."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="package")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Scraped:
    """The address and the certificates of the daemon's metrics."""
    return Scraped(f"127.0.0.1:{free_port()}", tmp_path_factory.mktemp("metrics"))


@pytest.fixture(scope="package")
def daemon(collected: tuple[Collector, str], metrics: Scraped) -> Iterator[Serving]:
    if os.geteuid() != 0:
        pytest.skip("machines and their networks need root")
    # Sampling is 0, so that only calls of a test that asks for it are traced.
    with serving({"metrics": metrics.settings(), "traces": {"endpoint": collected[1], "sampling": 0}}) as running:
        if TEMPLATE == "auto":
            running.cri.run_pod().remove()  # one that finds no template has it made
            eventually(lambda: running.has_template, _TEMPLATE_DEADLINE)
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
    with cri.pod("debugged", labels=PRIVILEGED, linux={"security_context": {"privileged": True}}) as pod:
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
