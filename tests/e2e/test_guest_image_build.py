"""The guest image built for real, out of Debian packages: what is in it, and the same bytes from the same inputs."""

import os
import subprocess
from pathlib import Path

import pytest

from vmsandbox.guestimage import manifest
from vmsandbox.guestimage.base import Base
from vmsandbox.guestimage.build import build_guest_image
from vmsandbox.guestimage.inputs import Recipe, agent_build, agent_sources, source_date_epoch
from vmsandbox.guestimage.manifest import DEFAULT_DIRECTORY, BuiltImage
from vmsandbox.guestimage.mirrors import choose_sources

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="building the guest image needs root"),
    pytest.mark.timeout(900),
]

MAX_ROOT = 60 * 1024 * 1024


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the base layer of this host's image, where that was built from the same inputs: one build less."""
    directory = tmp_path_factory.mktemp("guest-image")
    base = f"base/{Recipe('trixie', choose_sources('trixie'), source_date_epoch()).base_key()}"
    if (DEFAULT_DIRECTORY / base).is_dir():
        (directory / "base").mkdir()
        subprocess.run(["cp", "-a", DEFAULT_DIRECTORY / base, directory / base], check=True)
    return directory


@pytest.fixture
async def image(output: Path) -> BuiltImage:
    """Built by the first test that asks for it, and found by the others."""
    return await build_guest_image(output=output)


def _base(image: BuiltImage) -> Base:
    [base] = (image.directory.parent / "base").iterdir()
    return Base(base)


async def test_an_image_built_again_has_the_same_bytes(image: BuiltImage, output: Path) -> None:
    again = await build_guest_image(output=output, refresh=True)
    if again.manifest.packages != image.manifest.packages:  # Debian has had newer ones since the host's was built
        image, again = again, await build_guest_image(output=output, refresh=True)
    assert again.manifest == image.manifest


async def test_the_manifest_says_what_is_in_the_image(image: BuiltImage) -> None:
    assert manifest.checksums(image.directory) == image.manifest.files
    assert image.manifest.build == agent_build()
    assert {"crun", "busybox-static", "python3-minimal", f"linux-image-{image.manifest.kernel}"} <= set(
        image.manifest.packages
    )
    listing = image.directory / "root-files.sha256"
    subprocess.run(["sha256sum", "--check", "--quiet", listing], cwd=_base(image).tree, check=True)


async def test_the_root_is_small_and_has_no_package_manager(image: BuiltImage) -> None:
    assert image.root.stat().st_size <= MAX_ROOT
    names = {path.name for path in _base(image).tree.rglob("*")}
    assert {"crun", "python3", "asyncio", "machine-id"} <= names
    assert not names & {"apt", "apt-get", "dpkg", "perl", "doc", "man", "locale"}


async def test_all_of_pythons_library_is_compiled(image: BuiltImage) -> None:
    [library] = (_base(image).tree / "usr/lib").glob("python3.*")
    sources = {path.stem for path in library.glob("*.py")}
    compiled = {path.name.partition(".")[0] for path in (library / "__pycache__").glob("*.pyc")}
    assert sources == compiled
    checked = [path for path in library.rglob("*.pyc") if path.read_bytes()[4] & 0b11 != 0b01]  # PEP 552
    assert not checked, "it would be compiled again at each start, as its source has another time in the image"


async def test_the_agent_in_the_initramfs_can_be_imported_by_the_guests_python(
    image: BuiltImage, tmp_path: Path
) -> None:
    extract = ["cpio", "--extract", "--make-directories", "--quiet", "agent/*"]
    subprocess.run(extract, cwd=tmp_path, input=image.initramfs.read_bytes(), check=True)
    assert (tmp_path / "agent/build-id").read_text().strip() == image.manifest.build
    names = [f"{name[:-3].replace('/', '.')}" for name in agent_sources() if not name.endswith("__init__.py")]
    zipped = _base(image).tree / "usr/lib/vmsandbox/agent.pyz"
    zipped.write_bytes((tmp_path / "agent/agent.pyz").read_bytes())
    try:
        code = f"import sys; sys.path.insert(0, '/usr/lib/vmsandbox/agent.pyz'); import {', '.join(names)}"
        argv = ["chroot", _base(image).tree, "/usr/bin/python3", "-I", "-S", "-B", "-c", code]
        subprocess.run(argv, check=True)
    finally:
        zipped.unlink()
