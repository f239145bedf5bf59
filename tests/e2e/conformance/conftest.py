"""One daemon for all conformance tests, and the pods that tests share: a machine's start is what costs time.

A pod is made when the first test asks for it. Tests leave shared pods as they found them: containers have names of
their own, and nothing is changed that another test looks at.
"""

import os
from collections.abc import Iterator

import pytest

from tests.support.conformance import Serving, serving
from tests.support.conformance_client import Container, Cri, Pod


@pytest.fixture(scope="session")
def daemon() -> Iterator[Serving]:
    if os.geteuid() != 0:
        pytest.skip("machines and their networks need root")
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def cri(daemon: Serving) -> Cri:
    return daemon.cri


@pytest.fixture(scope="session")
def pod(cri: Cri) -> Iterator[Pod]:
    """A plain pod."""
    with cri.pod() as pod:
        yield pod


@pytest.fixture(scope="session")
def waiting(pod: Pod) -> Container:
    """A container of the plain pod that waits, to run commands in."""
    return pod.start()


@pytest.fixture(scope="session")
def privileged_pod(cri: Cri) -> Iterator[Pod]:
    with cri.pod(linux={"security_context": {"privileged": True}}) as pod:
        yield pod
