"""The root of a container: containerd describes the mounts that make it, and they are mounted here, for the daemon.

So is the file system of a pod's own files.
"""

import asyncio
import contextlib
import os
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vmsandbox import process
from vmsandbox.errors import InvalidArgument

_DEADLINE = 120.0


async def mount_root(mounts: Iterable[Any], target: Path) -> None:
    """Make a directory, and mount at it what containerd describes (`containerd.types.Mount`), in order.

    Raises:
        InvalidArgument: a mount is not for the root itself.
        VmsandboxError: it cannot be mounted; `unmount_root` undoes what was.
    """
    target.mkdir(mode=0o711, exist_ok=True)  # noqa: ASYNC240 - in a directory of this process
    for each in mounts:
        if each.target:
            raise InvalidArgument(f"a mount of the root has the target {each.target!r}")
        await process.run(mount_command(each.type, each.source, each.options, target), timeout=_DEADLINE)


async def unmount_root(target: Path) -> None:
    """Unmount what `mount_root` has mounted, and remove the directory. Succeeds where that was done before."""
    while await asyncio.to_thread(os.path.ismount, target):
        await process.run(["umount", "--lazy", os.fspath(target)], timeout=_DEADLINE)
    with contextlib.suppress(FileNotFoundError):
        target.rmdir()  # noqa: ASYNC240 - in a directory of this process


def mount_command(kind: str, source: str, options: Sequence[str], target: Path) -> list[str]:
    """Return the command for a mount. The lower layers of an overlay are named from the directory that they share.

    The kernel takes a page of options, which the layers of an image exceed where each is a whole path.
    """
    kept, directory = list(options), "/"
    for index, option in enumerate(kept):
        name, _, value = option.partition("=")
        if kind == "overlay" and name == "lowerdir" and all(map(posixpath.isabs, layers := value.split(":"))):
            directory = posixpath.commonpath(layers)
            kept[index] = f"lowerdir={':'.join(posixpath.relpath(layer, directory) for layer in layers)}"
    joined = ["-o", ",".join(kept)] if kept else []
    return ["env", f"--chdir={directory}", "mount", "-t", kind, *joined, "--", source, os.fspath(target)]
