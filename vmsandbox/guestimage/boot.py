"""The boot layer: the initramfs, with the modules to load and the agent to become."""

import io
import os
import shutil
import zipfile
from pathlib import Path

from vmsandbox import process
from vmsandbox.guestimage.base import Base
from vmsandbox.guestimage.inputs import DEFINITION, SOURCES, agent_build, agent_sources, read_list
from vmsandbox.guestimage.modules import copy_modules
from vmsandbox.protocol.paths import BUILD_ID

_APPLETS = ("cp", "grep", "insmod", "mount", "sh", "switch_root")
_DIRECTORIES = ("agent", "bin", "dev", "proc", "root", "sys")


async def pack_agent(tree: Path, checkout: Path = SOURCES) -> bytes:
    """Zip the agent of `checkout` with compiled code, by the Python of the guest's root file system `tree`."""
    packer = (DEFINITION / "boot" / "pack_agent.py").read_text()
    argv = ["chroot", str(tree), "/usr/bin/python3", "-I", "-S", "-B", "-c", packer]
    return (await process.run(argv, stdin=zip_sources(checkout))).stdout


def zip_sources(checkout: Path = SOURCES) -> bytes:
    """The agent's sources and the `__main__` that starts them, as a zip."""
    start = b"from vmsandbox_agent.__main__ import main\n\nmain()\n"
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for name, content in {**agent_sources(checkout), "__main__.py": start}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return zipped.getvalue()


async def build_initramfs(base: Base, agent: bytes, epoch: int, workspace: Path) -> bytes:
    """The initramfs, an uncompressed cpio: QEMU copies it in one go, and the guest has nothing to decompress.

    Args:
        base: the base layer, whose busybox and modules it holds.
        agent: of `pack_agent`.
        epoch: the time of all files, seconds since 1970.
        workspace: an empty directory for its files, the caller's to remove.
    """
    definition = DEFINITION / "boot"
    for name in _DIRECTORIES:
        (workspace / name).mkdir()
    shutil.copy(base.tree / "usr/bin/busybox", workspace / "bin/busybox")
    for applet in _APPLETS:
        (workspace / "bin" / applet).symlink_to("busybox")
    copy_modules(read_list(definition / "modules.txt"), base.modules, workspace / "modules")
    (workspace / "agent" / "agent.pyz").write_bytes(agent)
    (workspace / "agent" / Path(BUILD_ID).name).write_text(f"{agent_build()}\n")
    shutil.copy(definition / "init", workspace / "init")
    return await _archive(workspace, epoch)


async def _archive(directory: Path, epoch: int) -> bytes:
    argv = ["cpio", "--create", "--format=newc", "--reproducible", "--owner=+0:+0", "--quiet"]
    names = "".join(f"{name}\n" for name in _normalize(directory, epoch))
    return (await process.run([*argv, "--directory", str(directory)], stdin=names.encode())).stdout


def _normalize(directory: Path, epoch: int) -> list[Path]:
    """Give all files the same times and modes; return their names, sorted."""
    paths = sorted(directory.rglob("*"))
    for path in paths:
        if not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    return [path.relative_to(directory) for path in paths]
