"""vmsandbox image build-guest: the image that machines boot from."""

import os
import sys
from pathlib import Path

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.errors import VmsandboxError
from vmsandbox.fs import USUAL
from vmsandbox.guestimage import (
    DEBIAN,
    DEFAULT_DIRECTORY,
    LOG,
    SMALL,
    BuiltImage,
    build_guest_image,
    compiling,
    kernel_of,
    load_image,
    start_in_background,
)


@click.command("build-guest")
@click.option("--suite", default="trixie", show_default=True, help="Debian suite of the guest.")
@click.option("--mirror", default="", help="URL of a Debian mirror; without it, the mirrors of this host.")
@click.option(
    "--kernel",
    type=click.Choice([DEBIAN, SMALL]),
    help="Debian's kernel, or a small one, compiled from Debian's source in ten minutes on two CPUs. Without it, "
    "the small one where it is compiled already.",
)
@click.option(
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Directory of guest images.",
)
@click.option("--refresh", is_flag=True, help="Build again, with the current versions of the mirror.")
@click.option(
    "--small-in-background",
    is_flag=True,
    help="Where the image has Debian's kernel, have a process of its own compile the small one at the lowest "
    "priority, and return. Machines that start when it has ended get it.",
)
def build_guest(
    suite: str, mirror: str, kernel: str | None, directory: Path, *, refresh: bool, small_in_background: bool
) -> None:
    """Build the guest image from Debian packages.

    If an input has changed since it was built. Prints its directory. `guest-image/README.md` says what is in it.
    """
    os.umask(USUAL)  # QEMU's user reads the image, which holds nothing that is secret; so does Debian's dpkg
    if small_in_background:
        return _compile_in_background(suite, mirror, directory)

    async def build() -> BuiltImage:
        with terminal.step("The guest image") as update:
            return await build_guest_image(
                suite=suite,
                mirror=mirror,
                kernel=kernel or "",
                output=directory,
                refresh=refresh,
                progress=lambda what: update(what, 0, 0),
            )

    terminal.result(str(execution.run(build()).directory))


def _compile_in_background(suite: str, mirror: str, directory: Path) -> None:
    command = [sys.executable, "-m", "vmsandbox", "image", "build-guest", "--kernel", SMALL, "--suite", suite]
    command += ["--output", str(directory), *(["--mirror", mirror] if mirror else [])]
    try:
        if kernel_of(load_image(directory / "current")) == SMALL:
            return terminal.note("The guest image has the small kernel already.")
        pid = compiling(directory) or execution.run(start_in_background(command, directory)).pid
    except VmsandboxError as error:
        execution.fail(error, execution.FAILED)
    terminal.note(
        "A small kernel for guests is being compiled in the background, with what CPU time nobody else wants: machines"
        f" take less memory and start sooner when it is done. Log: {LOG}; to end it: kill {pid}"
    )
