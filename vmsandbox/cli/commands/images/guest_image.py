"""vmsandbox image export-guest and import-guest: a guest image that comes built."""

import os
from pathlib import Path
from typing import IO

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.errors import InvalidArgument, Unavailable, VmsandboxError
from vmsandbox.fs import USUAL
from vmsandbox.fs.durable import sync_directory, sync_file
from vmsandbox.fs.opening import reason
from vmsandbox.guestimage import (
    DEFAULT_DIRECTORY,
    BuiltImage,
    agent_build,
    export_image,
    import_image,
    load_image,
)


@click.command("export-guest")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--image",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIRECTORY / "current",
    show_default=True,
    help="Directory of the image.",
)
def export_guest(file: Path, directory: Path) -> None:
    """Write the guest image to FILE, for hosts without a mirror.

    FILE is a tar compressed by zstd, with the image's manifest and its checksums: vmsandbox image export-guest
    guest-image.tar.zst. It is replaced when the new one is whole.
    """
    os.umask(USUAL)  # nothing in it is secret
    try:
        image = load_image(directory)
        with terminal.step(f"Writing {file}"):
            _replace(file, image)
    except VmsandboxError as error:
        execution.fail(error, execution.FAILED)
    except OSError as error:
        execution.fail(Unavailable(f"cannot write the guest image to {file}: {reason(error)}"), execution.FAILED)
    _describe(image)


@click.command("import-guest")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Directory of guest images.",
)
def import_guest(file: IO[bytes], directory: Path) -> None:
    """Take a guest image from FILE, and boot machines from it.

    FILE is what `image export-guest` has written, or - for standard input. It is checked against its checksums before
    it becomes current; on failure the image that was current stays. Prints the directory of the image. Machines that
    run keep theirs.
    """
    os.umask(USUAL)  # QEMU's user reads the image
    try:
        with terminal.step(f"Taking the guest image from {file.name}"):
            image = import_image(file, directory)
    except InvalidArgument as error:
        execution.fail(
            InvalidArgument(f"{file.name}: {error}", hint="write it again with image export-guest"), execution.FAILED
        )
    except VmsandboxError as error:
        execution.fail(error, execution.FAILED)
    except OSError as error:
        execution.fail(
            Unavailable(f"cannot take the guest image from {file.name} into {directory}: {reason(error)}"),
            execution.FAILED,
        )
    _describe(image)
    terminal.result(str(image.directory))


def _replace(file: Path, image: BuiltImage) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as target:
            export_image(image, target)
            target.flush()
            sync_file(target.fileno())
        temporary.replace(file)
        sync_directory(file.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _describe(image: BuiltImage) -> None:
    manifest = image.manifest
    terminal.note(
        f"guest image {manifest.key}: Debian {manifest.suite}, kernel {manifest.kernel}, agent {manifest.build}"
    )
    if manifest.build == agent_build():
        terminal.note("its agent is the one of this version of vmsandbox")
    else:
        terminal.warning(
            f"its agent is of another version of vmsandbox (this one has {agent_build()}): pods run, but"
            " without what only the newer one of the two can do"
        )
