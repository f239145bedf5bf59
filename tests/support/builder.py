"""The program that builds root images, for tests: what it is given, and its processes."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from tests.support.images import compress
from vmsandbox.images.rootfs import Arrival, Layer, RootLimit, at_once, build_root_image
from vmsandbox.images.rootfs.tar.entry import Content, FileKind
from vmsandbox.images.rootfs.tree.node import TreeNode
from vmsandbox.images.rootfs.writer import member
from vmsandbox.process import Account

ACCOUNT = Account.named("vmsandbox-images")


def layers_of(tars: Sequence[bytes], where: Path, compression: str = "") -> list[Layer]:
    found = []
    for number, tar in enumerate(tars):
        path = where / f"layer-{number}"
        path.write_bytes(compress(tar, compression))
        diff_id = "sha256:" + hashlib.sha256(tar).hexdigest()
        found.append(Layer(path, diff_id))
    return found


def endless_layer(where: Path) -> Layer:
    """A layer that nobody reads to its end: one file of 256 GiB, of which the disk holds nothing."""
    size = 1 << 38
    path = where / "endless"
    path.write_bytes(member(b"a", TreeNode(FileKind.FILE, content=Content(0, size))))
    os.truncate(path, size)
    return Layer(path, "sha256:" + "0" * 64)


async def make_root_image(
    layers: Sequence[Layer], image: Path, limit: RootLimit, timeout: float = 3600, arrival: Arrival = at_once
) -> None:
    await build_root_image(layers, image, limit=limit, account=ACCOUNT, timeout=timeout, arrival=arrival)


def builders() -> set[int]:
    """The processes that build root images now."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes()
            if b"vmsandbox.images.rootfs" in command or b"tar2sqfs" in command:
                found.add(int(path.parent.name))
    return found
