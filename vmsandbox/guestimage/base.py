"""The base layer: the root file system and the kernel, out of Debian packages, by mmdebstrap."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import process
from vmsandbox.errors import Internal
from vmsandbox.guestimage.debian_kernel import extract_vmlinux
from vmsandbox.guestimage.inputs import DEBIAN, DEFINITION, Progress, Recipe, read_list
from vmsandbox.guestimage.mirrors import sources_list
from vmsandbox.guestimage.modules import install_modules
from vmsandbox.guestimage.small_kernel import SmallKernel

_MMDEBSTRAP_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Base:
    """A directory that holds a base layer. It is written once, and renamed into place when it is whole."""

    directory: Path

    @property
    def tree(self) -> Path:
        """The root file system, as a directory."""
        return self.directory / "tree"

    @property
    def root(self) -> Path:
        """The same as a squashfs."""
        return self.directory / "root.squashfs"

    @property
    def vmlinux(self) -> Path:
        """The uncompressed kernel."""
        return self.directory / "vmlinux"

    @property
    def packages(self) -> Path:
        """`package version` lines."""
        return self.directory / "packages"

    @property
    def root_files(self) -> Path:
        """The root's files, in the form of sha256sum(1)."""
        return self.directory / "root-files.sha256"

    @property
    def modules(self) -> Path:
        """The kernel's directory of modules; its name is the kernel's release."""
        return next((self.directory / "debs/kernel/usr/lib/modules").iterdir())


async def build_base(recipe: Recipe, kernel: SmallKernel | None, directory: Path, progress: Progress) -> Base:
    """Build the base layer in `directory`, which is empty and the caller's to remove on failure.

    Args:
        recipe: its inputs.
        kernel: the kernel that it gets, on the same file system; None: that of Debian's package.
        directory: where it is built.
        progress: called before each step.

    Raises:
        Internal: a tool failed (no such suite, no network); what it said is the evidence.
    """
    base = Base(directory)
    progress(f"Unpacking Debian {recipe.suite} packages")
    await _unpack_packages(recipe, base)
    # Not as a hook: mmdebstrap runs none after the extract hooks in this variant, and copies files of the host last.
    await process.run([str(DEFINITION / "base" / "customize"), str(base.tree)], timeout=600)
    progress("Extracting the kernel")
    if kernel:
        _take_kernel(kernel, base)
    else:
        await _extract_kernel(base)
    await _install_modules(base)
    progress("Compressing the root file system")
    await _make_squashfs(recipe, base)
    return base


async def _unpack_packages(recipe: Recipe, base: Base) -> None:
    definition = DEFINITION / "base"
    debs = base.directory / "debs"
    debs.mkdir()
    argv = [
        "mmdebstrap",
        "--mode=root",
        "--variant=extract",
        f"--include={','.join(read_list(definition / 'packages.txt'))}",
        f"--dpkgopt={definition / 'exclude.conf'}",
        f'--extract-hook={definition / "fetch-kernel"} "$1" {debs} {_metapackage(recipe)}',
        recipe.suite,
        str(base.tree),
        "-",
    ]
    sources = sources_list(recipe.sources).encode()
    await process.run(argv, stdin=sources, timeout=_MMDEBSTRAP_SECONDS, env=recipe.environment())
    listed = [await _name_and_version(deb) for deb in sorted(debs.glob("*.deb"))]
    base.packages.write_text("".join(listed))
    for deb in debs.glob("*.deb"):
        deb.unlink()


def _metapackage(recipe: Recipe) -> str:
    return " ".join(read_list(DEFINITION / "base" / "kernel.txt")) if recipe.kernel == DEBIAN else ""


async def _name_and_version(deb: Path) -> str:
    argv = ["dpkg-deb", "--show", "--showformat=${Package} ${Version}\n", str(deb)]
    return (await process.run(argv)).stdout.decode()


async def _extract_kernel(base: Base) -> None:
    kernel = base.directory / "debs" / "kernel"
    images = list((kernel / "boot").glob("vmlinuz-*"))
    if len(images) != 1:
        raise Internal(f"expected one kernel in its package, found {len(images)}")
    base.vmlinux.write_bytes(await extract_vmlinux(images[0].read_bytes()))


def _take_kernel(kernel: SmallKernel, base: Base) -> None:
    """Give a base layer a compiled kernel by hard links: no image takes its space again."""
    base.vmlinux.hardlink_to(kernel.vmlinux)
    modules = base.directory / "debs/kernel/usr/lib/modules" / kernel.modules.name
    shutil.copytree(kernel.modules, modules, copy_function=os.link)
    with base.packages.open("a") as packages:
        packages.write(kernel.named_packages())


async def _install_modules(base: Base) -> None:
    """The modules that the kernel loads when they are asked for, and what loads them: busybox as modprobe."""
    await process.run(["depmod", "--basedir", str(base.directory / "debs/kernel/usr"), base.modules.name])
    installed = base.tree / "usr/lib/modules" / base.modules.name
    install_modules(read_list(DEFINITION / "base" / "on-demand.txt"), base.modules, installed)
    await process.run(["depmod", "--basedir", str(base.tree / "usr"), base.modules.name])
    for unread in (*installed.glob("*.bin"), installed / "modules.symbols"):
        unread.unlink()
    (base.tree / "usr/sbin").mkdir(exist_ok=True)
    (base.tree / "usr/sbin/modprobe").symlink_to("../bin/busybox")


async def _make_squashfs(recipe: Recipe, base: Base) -> None:
    argv = ["mksquashfs", str(base.tree), str(base.root), "-noappend", "-no-progress", "-quiet", "-no-exports"]
    compression = ["-comp", "lz4", "-Xhc", "-b", "32K"]
    await process.run([*argv, *compression], timeout=600, env=recipe.environment())
    base.root_files.write_text("".join(_checksums(base.tree)))


def _checksums(tree: Path) -> list[str]:
    files = (path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink())
    return [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files]
