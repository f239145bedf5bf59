"""vmsandbox image build-guest: the image that machines boot from."""

import os
from pathlib import Path

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.fs import USUAL
from vmsandbox.guestimage import DEBIAN, DEFAULT_DIRECTORY, SMALL, BuiltImage, build_guest_image


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
def build_guest(suite: str, mirror: str, kernel: str | None, directory: Path, refresh: bool) -> None:
    """Build the guest image from Debian packages.

    If an input has changed since it was built. Prints its directory. `guest-image/README.md` says what is in it.
    """
    os.umask(USUAL)  # QEMU's user reads the image, which holds nothing that is secret; so does Debian's dpkg

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
