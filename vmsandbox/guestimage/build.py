"""Building the guest image: each layer once per key, and then the link `current` moves to it.

Under the output directory: `kernel/KEY/` (kernels compiled here), `base/KEY/` (base layers), `KEY/` (images, whose
large files are hard links to their base layer's), `current`, `lock`. Directories are made under a name that starts
with `.building-` and renamed when whole.
"""

import contextlib
import dataclasses
import os
import tempfile
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound
from vmsandbox.guestimage.background import hurry
from vmsandbox.guestimage.base import Base, build_base
from vmsandbox.guestimage.boot import build_initramfs, pack_agent
from vmsandbox.guestimage.inputs import DEBIAN, SMALL, Progress, Recipe, agent_build, command_line, source_date_epoch
from vmsandbox.guestimage.manifest import (
    DEFAULT_DIRECTORY,
    BuiltImage,
    GuestImageManifest,
    checksums,
    load_image,
    write_manifest,
)
from vmsandbox.guestimage.mirrors import choose_sources
from vmsandbox.guestimage.small_kernel import SmallKernel, compile_kernel
from vmsandbox.guestimage.store import locked, make_current, new_directory

_TOO_OLD = ("bookworm", "bullseye", "buster", "oldstable", "oldoldstable")
"""Suites whose kernels are packed with LZ4, and whose crun and kernel modules no guest has been tried with."""


async def build_guest_image(
    *,
    suite: str = "trixie",
    mirror: str = "",
    kernel: str = "",
    output: Path = DEFAULT_DIRECTORY,
    refresh: bool = False,
    progress: Progress = lambda text: None,
) -> BuiltImage:
    """The guest image for the present inputs, built where it does not exist yet, and made `current`.

    Args:
        suite: of Debian.
        mirror: its URL; without one, the host's own mirrors.
        kernel: DEBIAN or SMALL; without one, SMALL where that is compiled already, and else DEBIAN.
        output: where images and layers are kept.
        refresh: build anew, with the mirror's present package versions.
        progress: called with what is being done, before each step.

    Raises:
        InvalidArgument: a guest cannot be made of the suite.
        FailedPrecondition: not root, a tool is missing, another build runs, or no mirror is known.
        Internal: a tool failed; what it said is the evidence.
    """
    _check_suite(suite)
    recipe = _with_kernel(kernel, Recipe(suite, choose_sources(suite, mirror), source_date_epoch()), output / "kernel")
    if not refresh:
        with contextlib.suppress(NotFound, FailedPrecondition):
            return make_current(load_image(output / recipe.key()))
    if os.geteuid() != 0:
        raise FailedPrecondition("building the guest image needs root", hint="run it with sudo")
    small = await _kernel_layer(recipe, output, refresh, progress)
    await hurry()
    with locked(output):
        base = await _base_layer(recipe, small, output / "base", refresh, progress)
        return make_current(await _boot_layer(recipe, base, output, progress))


def _check_suite(suite: str) -> None:
    """Refuse at once what would fail after a minute of downloads."""
    if suite.partition("-")[0] in _TOO_OLD:
        raise InvalidArgument(
            f"a guest cannot be made of Debian {suite}: its kernel is packed with LZ4, which is not read here",
            hint="--suite trixie (Debian 13), which is the default; the host may have another release than its guests",
        )


def _with_kernel(kernel: str, recipe: Recipe, kernels: Path) -> Recipe:
    compiled = (kernels / recipe.kernel_key()).is_dir()
    return dataclasses.replace(recipe, kernel=kernel or (SMALL if compiled else DEBIAN))


async def _kernel_layer(recipe: Recipe, output: Path, refresh: bool, progress: Progress) -> SmallKernel | None:
    """Compiled without the lock of `output`: meanwhile, images with Debian's kernel can be built."""
    if recipe.kernel == DEBIAN or ((output / "base" / recipe.base_key()).is_dir() and not refresh):
        return None
    return await compile_kernel(recipe, output / "kernel", refresh=refresh, progress=progress)


async def _base_layer(
    recipe: Recipe, kernel: SmallKernel | None, bases: Path, refresh: bool, progress: Progress
) -> Base:
    final = bases / recipe.base_key()
    if final.is_dir() and not refresh:
        return Base(final)
    with new_directory(final) as building:
        await build_base(recipe, kernel, building, progress)
    return Base(final)


async def _boot_layer(recipe: Recipe, base: Base, output: Path, progress: Progress) -> BuiltImage:
    progress("Packing the agent and the initramfs")
    final = output / recipe.key()
    with new_directory(final) as building, tempfile.TemporaryDirectory() as workspace:
        agent = await pack_agent(base.tree)
        initramfs = await build_initramfs(base, agent, recipe.epoch, Path(workspace))
        (building / "initramfs.img").write_bytes(initramfs)
        for path in (base.vmlinux, base.root, base.root_files):
            (building / path.name).hardlink_to(path)
        write_manifest(building, _manifest(recipe, base, building))
    return load_image(final)


def _manifest(recipe: Recipe, base: Base, directory: Path) -> GuestImageManifest:
    packages = dict(line.split() for line in base.packages.read_text().splitlines())
    return GuestImageManifest(
        key=recipe.key(),
        suite=recipe.suite,
        kernel=base.modules.name,
        build=agent_build(),
        command_line=command_line(),
        packages=packages,
        files=checksums(directory),
    )
