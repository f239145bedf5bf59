"""What end-to-end tests share: a node on which `vmsandbox run` runs pods."""

from collections.abc import Iterator

import pytest

from tests.standins.registry import registries_conf, running_stand_ins
from tests.support import pods
from tests.support.pods import Node


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("registry")
    with running_stand_ins(directory) as registry, pods.node(registries_conf(registry)) as made:
        yield made


@pytest.fixture
def nothing_is_left_of_pods(node: Node) -> Iterator[None]:
    yield
    assert node.leftovers() == []
