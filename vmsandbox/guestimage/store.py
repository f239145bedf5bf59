"""The directory of guest images: its lock, what is made in it whole or not at all, the link to the current one."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs.durable import replace_link
from vmsandbox.fs.locks import try_locked
from vmsandbox.guestimage.manifest import BuiltImage

BUILDING = ".building-"
"""How the names of directories begin that are not whole yet."""


def make_current(image: BuiltImage) -> BuiltImage:
    """Point `current` at the image, in one step."""
    link = image.directory.parent / "current"
    if link.is_symlink() and link.resolve() == image.directory:
        return image
    replace_link(link, image.directory.name, temporary=link.with_name(f"{BUILDING}current-{os.getpid()}"))
    return image


@contextlib.contextmanager
def locked(output: Path) -> Iterator[None]:
    """Be alone in the directory, which is made if it is missing; what a kill has left there is removed.

    Raises:
        FailedPrecondition: another build or import runs there.
    """
    output.mkdir(parents=True, exist_ok=True)
    with try_locked(output / "lock") as alone:
        if not alone:
            raise FailedPrecondition(
                f"another build or import of the guest image runs in {output}", hint="wait until it has ended"
            )
        for leftover in (*output.glob(f"{BUILDING}*"), *output.glob(f"base/{BUILDING}*")):
            _remove(leftover)
        yield


@contextlib.contextmanager
def new_directory(final: Path) -> Iterator[Path]:
    """A directory that becomes `final` when all went well, in place of what was there, and else is removed."""
    building = final.with_name(BUILDING + final.name)
    building.mkdir(parents=True)
    try:
        yield building
        os.sync()
        replaced = final.with_name(f"{BUILDING}old-{final.name}")
        if final.exists():
            final.rename(replaced)
        building.rename(final)
        _remove(replaced)
    finally:
        _remove(building)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
