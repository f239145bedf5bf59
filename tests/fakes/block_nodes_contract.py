"""The contract of device nodes: one suite for the fake and for the real ones."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from vmsandbox.errors import FailedPrecondition
from vmsandbox.sandbox.blocks.node import FoundDevice, look
from vmsandbox.sandbox.blocks.nodes import BlockNodes

NewNodes = Callable[..., BlockNodes]
SIZE = 1024 * 1024


class BlockNodesContract:
    """Inherit from it, with the fixtures `new`, which makes nodes of another sandbox, and `file`, of SIZE."""

    @pytest.fixture
    def nodes(self, new: NewNodes) -> BlockNodes:
        return new()

    @pytest.fixture
    def found(self, file: Path):
        found = look(file)
        assert found is not None
        with contextlib.closing(found):
            yield found

    def test_a_node_is_found_until_it_is_removed(self, nodes: BlockNodes, found: FoundDevice) -> None:
        assert (nodes.all(), nodes.existing(found, write=True)) == ((), None)
        with contextlib.closing(nodes.make(found, "one", write=True)) as made:
            assert (made.node.serial, made.node.writable, made.geometry.size) == ("one", True, SIZE)
            assert nodes.all() == (made.node,) and nodes.size(made.node) == SIZE
            for write in (True, False):
                assert nodes.existing(found, write=write) == made.node
        nodes.remove("one")
        nodes.remove("one")
        assert nodes.all() == ()

    def test_what_is_only_read_does_not_serve_for_writing(self, nodes: BlockNodes, found: FoundDevice) -> None:
        with contextlib.closing(nodes.make(found, "one", write=False)) as made:
            assert not made.node.writable
            assert nodes.existing(found, write=False) == made.node
            assert nodes.existing(found, write=True) is None

    def test_one_pod_writes_and_others_read(self, nodes: BlockNodes, new: NewNodes, found: FoundDevice) -> None:
        other, third = new(), new()
        with contextlib.closing(nodes.make(found, "one", write=True)):
            for directory in (other, third):
                directory.make(found, "two", write=False).close()
            with pytest.raises(FailedPrecondition, match="another pod"):
                other.make(found, "three", write=True)
            assert [node.serial for node in other.all()] == ["two"]
        nodes.remove("one")
        other.make(found, "three", write=True).close()

    def test_what_could_not_be_plugged_in_is_undone(self, nodes: BlockNodes, new: NewNodes, found: FoundDevice) -> None:
        nodes.make(found, "one", write=True).undo()
        assert nodes.all() == ()
        new().make(found, "one", write=True).close()
