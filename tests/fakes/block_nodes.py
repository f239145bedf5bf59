"""Nodes of block devices without root: regular files that say what they stand for, which is a regular file as well."""

import json
import os
from pathlib import Path

from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs.block import Geometry
from vmsandbox.sandbox.blocks.node import BlockNode, FoundDevice, MadeNode
from vmsandbox.sandbox.blocks.nodes import BlockNodes


class FakeBlockNodes(BlockNodes):
    """Held to the same suite as the real ones (`tests.fakes.block_nodes_contract`)."""

    def all(self) -> tuple[BlockNode, ...]:
        return self._read(self._directory)

    def existing(self, found: FoundDevice, *, write: bool) -> BlockNode | None:
        nodes = [node for node in self.all() if node.number == found.status.st_ino and node.writable >= write]
        return max(nodes, key=lambda node: node.writable, default=None)

    def make(self, found: FoundDevice, serial: str, *, write: bool) -> MadeNode:
        for directory in self._everyone():
            others = self._read(directory) if directory != self._directory else ()
            if write and any(self._clashes(node, found.status.st_ino) for node in others):
                raise FailedPrecondition(f"{found.path} is written by another pod of this node")
        self._directory.mkdir(exist_ok=True)
        path = self._directory / serial
        path.write_text(json.dumps([found.status.st_ino, write, self._shared, str(found.path)]))
        node = BlockNode(serial, path, found.status.st_ino, write, self._shared)
        return MadeNode(node, Geometry(found.status.st_size, 512, 512))

    @staticmethod
    def size(node: BlockNode) -> int:
        return os.stat(json.loads(node.path.read_text())[3]).st_size

    @staticmethod
    def _read(directory: Path) -> tuple[BlockNode, ...]:
        paths = sorted(directory.iterdir()) if directory.is_dir() else ()
        return tuple(BlockNode(path.name, path, *json.loads(path.read_text())[:3]) for path in paths)
