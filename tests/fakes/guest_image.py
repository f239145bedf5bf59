"""A guest image that no machine would boot: a few bytes for each of its files."""

from pathlib import Path

from vmsandbox.guestimage.inputs import agent_build
from vmsandbox.guestimage.manifest import FILES, BuiltImage, GuestImageManifest, checksums, load_image, write_manifest


def make_guest_image(directory: Path, *, key: str, build: str = "") -> BuiltImage:
    """Make it in `directory`, by default with the build id of the present agent."""
    directory.mkdir(parents=True)
    for name in FILES:
        (directory / name).write_bytes(f"{name} of {key}".encode() * 1000)
    manifest = GuestImageManifest(
        key=key, suite="trixie", kernel="6.12.1-cloud", build=build or agent_build(), command_line="quiet",
        packages={"crun": "1.21-1"}, files=checksums(directory),
    )  # fmt: skip
    write_manifest(directory, manifest)
    return load_image(directory)
