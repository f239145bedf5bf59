"""Fixtures of end-to-end tests: a node on which `vmsandbox run` runs pods."""

import os
from collections.abc import Iterator

import pytest

from tests.standins.registry import registries_conf, running_stand_ins
from tests.support import pods
from tests.support.pods import Node

DOCKER = "VMSANDBOX_DOCKER" in os.environ
"""Whether docker is run in a pod, which takes minutes and an image of 240 MB."""


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("registry")
    with running_stand_ins(directory, with_docker=DOCKER) as registry, pods.node(registries_conf(registry)) as made:
        yield made


@pytest.fixture
def nothing_is_left_of_pods(node: Node) -> Iterator[None]:
    yield
    assert node.leftovers() == []
