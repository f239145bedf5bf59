"""A guest image with the agent of a released version, beside the one that the setup has built."""

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.released import unpack_agent
from tests.support.qemu import GUEST_IMAGE
from vmsandbox.guestimage.boot import pack_agent
from vmsandbox.guestimage.inputs import agent_build
from vmsandbox.guestimage.manifest import BuiltImage, checksums, load_image, write_manifest


async def make_released_image(agent: Path, directory: Path) -> Path:
    """Make the image in `directory`, which QEMU's user can enter: the present one with the released agent in it."""
    now = load_image(GUEST_IMAGE)
    with tempfile.TemporaryDirectory(prefix="vmsandbox-released-") as workspace:
        checkout = unpack_agent(agent, Path(workspace) / "checkout")
        packed = await pack_agent(_base_tree(now), checkout)
        tree = Path(workspace) / "initramfs"
        tree.mkdir()
        subprocess.run(["cpio", "-idm", "--quiet"], cwd=tree, input=now.initramfs.read_bytes(), check=True)
        (tree / "agent/agent.pyz").write_bytes(packed)
        (tree / "agent/build-id").write_text(f"{agent_build(checkout)}\n")
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*"))).encode()
        made = subprocess.run(["cpio", "-oH", "newc", "--quiet"], cwd=tree, input=names, check=True, stdout=-1).stdout
        build = agent_build(checkout)
    (directory / "initramfs.img").write_bytes(made)
    for path in (now.kernel, now.root, now.directory / "root-files.sha256"):
        (directory / path.name).symlink_to(path)
    write_manifest(directory, replace(now.manifest, key="released", build=build, files=checksums(directory)))
    return directory


def _base_tree(image: BuiltImage) -> Path:
    """The root file system that an image was built from: its squashfs is a hard link to its base layer's."""
    bases = (image.directory.parent / "base").iterdir()
    return next(base / "tree" for base in bases if (base / image.root.name).samefile(image.root))
