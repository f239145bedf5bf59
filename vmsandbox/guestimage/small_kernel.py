"""The small kernel: Debian's source package compiled with a configuration of our own, in a tree of Debian's compiler.

It takes ten minutes, so that it has a layer of its own: an image gets it as a base layer gets packages. The tree makes
the host's release irrelevant, and is removed afterwards. guest-image/README.md says how the configuration is kept.
"""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from vmsandbox import process
from vmsandbox.guestimage.inputs import DEFINITION, Progress, Recipe, read_list
from vmsandbox.guestimage.mirrors import sources_list
from vmsandbox.guestimage.store import BUILDING, locked, new_directory

_UNPACK_SECONDS = 1800
_COMPILE_SECONDS = 4 * 3600
_NAMED = re.compile(r"linux-source-[\d.]+|gcc-\d+|binutils")
"""The packages that an image's manifest names: the source, and what turned it into code."""


@dataclass(frozen=True, slots=True)
class SmallKernel:
    """A directory that holds a compiled kernel. It is written once, and renamed into place when it is whole."""

    directory: Path

    @property
    def vmlinux(self) -> Path:
        """An uncompressed ELF kernel with a PVH entry point, without symbols."""
        return self.directory / "vmlinux"

    @property
    def modules(self) -> Path:
        """Directory of its modules, whose name is the kernel's release."""
        return next((self.directory / "modules").iterdir())

    @property
    def packages(self) -> Path:
        """`package version` lines of what it was compiled from and with."""
        return self.directory / "packages"

    def named_packages(self) -> str:
        """Return those lines that an image's manifest has."""
        lines = self.packages.read_text().splitlines(keepends=True)
        return "".join(line for line in lines if _NAMED.fullmatch(line.split()[0]))


async def compile_kernel(recipe: Recipe, kernels: Path, *, refresh: bool, progress: Progress) -> SmallKernel:
    """Return the kernel for these inputs below `kernels`, compiled where it does not exist yet.

    Args:
        recipe: of the image that gets it.
        kernels: the directory of compiled kernels.
        refresh: look whether the mirror has newer packages, and compile if so.
        progress: called with what is being done, before each step.

    Raises:
        FailedPrecondition: another compilation runs there.
        Internal: a tool failed, or the configuration does not fit the source; what it said is the evidence.
    """
    kernel = SmallKernel(kernels / recipe.kernel_key())
    with locked(kernels):
        if refresh or not kernel.directory.is_dir():
            with tempfile.TemporaryDirectory(prefix=BUILDING, dir=kernels) as tree:
                await _make(recipe, kernel, Path(tree), progress)
    return kernel


async def _make(recipe: Recipe, kernel: SmallKernel, tree: Path, progress: Progress) -> None:
    progress("Unpacking the kernel's source and a compiler")
    packages = await _unpack(recipe, tree)
    if kernel.directory.is_dir() and kernel.packages.read_text() == packages:
        return
    with new_directory(kernel.directory) as building:
        progress("Compiling the kernel; that takes ten minutes on two CPUs")
        await _compile(recipe, tree)
        for path in (tree / "out").iterdir():
            path.rename(building / path.name)
        (building / "packages").write_text(packages)


async def _unpack(recipe: Recipe, tree: Path) -> str:
    """Unpack the packages into `tree`; return what they are, as `package version` lines."""
    definition = DEFINITION / "kernel"
    argv = [
        "mmdebstrap",
        "--mode=root",
        "--variant=extract",
        f"--include={','.join(read_list(definition / 'packages.txt'))}",
        '--extract-hook=cd "$1"/var/cache/apt/archives && ls *.deb >"$1"/packages',
        recipe.suite,
        str(tree),
        "-",
    ]
    sources = sources_list(recipe.sources).encode()
    await process.run(argv, stdin=sources, timeout=_UNPACK_SECONDS, env=recipe.environment())
    names = (tree / "packages").read_text().splitlines()
    for name in ("config", "build"):
        shutil.copy(definition / name, tree / name)
    return "".join(f"{package} {unquote(version)}\n" for package, version, _ in (name.split("_") for name in names))


async def _compile(recipe: Recipe, tree: Path) -> None:
    """Compile below all else that the host does, since its pods go first.

    A compiler does not go on in a tree that the next compilation removes: all of them end with this process.
    """
    jobs = len(os.sched_getaffinity(0))
    ends_with_us = ["setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child"]
    argv = [*ends_with_us, "nice", "-n", "19", "chroot", str(tree), "/build", str(jobs)]
    await process.run(argv, timeout=_COMPILE_SECONDS, env=recipe.environment())
