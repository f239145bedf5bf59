"""The program that builds root images, for tests: what it is given, and its processes."""

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

from tests.support.images import compress
from vmsandbox.confinement import Account
from vmsandbox.images.rootfs import Layer, RootLimit, build_root_image

ACCOUNT = Account.named("vmsandbox-images")


def layers_of(tars: Sequence[bytes], where: Path, compression: str = "") -> list[Layer]:
    found = []
    for number, tar in enumerate(tars):
        path = where / f"layer-{number}"
        path.write_bytes(compress(tar, compression))
        diff_id = "sha256:" + hashlib.sha256(tar).hexdigest()
        found.append(Layer(path, diff_id))
    return found


async def make_root_image(layers: Sequence[Layer], image: Path, limit: RootLimit, timeout: float = 3600) -> None:
    await build_root_image(layers, image, limit=limit, account=ACCOUNT, timeout=timeout)


def builders() -> set[int]:
    """The processes that build root images now."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes()
            if b"vmsandbox.images.rootfs" in command or b"tar2sqfs" in command:
                found.add(int(path.parent.name))
    return found
