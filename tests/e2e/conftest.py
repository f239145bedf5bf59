"""Fixtures of several end-to-end tests; a module that needs another one of a name has its own."""

import os
from collections.abc import Iterator

import pytest

from tests.standins.registry import registries_conf, running_stand_ins
from tests.support import pods
from tests.support.conformance import Serving, serving
from tests.support.podman import Podman, podman_of
from tests.support.pods import Node
from tests.support.registry import Registry, running_registry

DOCKER = "VMSANDBOX_DOCKER" in os.environ
"""Whether docker is run in a pod, which takes minutes and an image of 240 MB."""


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node on which `vmsandbox run` runs pods."""
    directory = tmp_path_factory.mktemp("registry")
    with running_stand_ins(directory, with_docker=DOCKER) as registry, pods.node(registries_conf(registry)) as made:
        yield made


@pytest.fixture
def nothing_is_left_of_pods(node: Node) -> Iterator[None]:
    yield
    assert node.leftovers() == []


@pytest.fixture(scope="module")
def daemon() -> Iterator[Serving]:
    """A daemon of `vmsandbox serve`, whose OCI door is on."""
    if os.geteuid() != 0:
        pytest.skip("machines and their networks need root")
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def podman(daemon: Serving) -> Iterator[Podman]:
    """A podman whose runtime is `vmsandbox-oci`."""
    with podman_of(daemon.directory) as made:
        yield made


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry without any images."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running
