"""manifest.json, which says what a guest image is and what is in it; and finding the image to boot."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, NotFound

FORMAT = 1
DEFAULT_DIRECTORY = Path("/var/cache/vmsandbox/guest-image")
MANIFEST = "manifest.json"
FILES = ("vmlinux", "initramfs.img", "root.squashfs", "root-files.sha256")
_HINT = "`vmsandbox image build-guest` builds one, `vmsandbox image import-guest FILE` takes one that is built"


@dataclass(frozen=True, slots=True)
class GuestImageManifest:
    """The content of manifest.json."""

    key: str
    """Names the inputs that the image was built from."""
    suite: str
    kernel: str
    """The kernel's release, as `uname -r` prints it in the guest."""
    build: str
    """Build id of the agent in it. Hello tells both ends the other's; it decides nothing."""
    command_line: str
    packages: dict[str, str]
    """Versions of the Debian packages in it."""
    files: dict[str, str]
    """The sha256 of each file beside the manifest."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """A guest image on disk. Its files are shared by all machines and never written."""

    directory: Path
    manifest: GuestImageManifest

    @property
    def kernel(self) -> Path:
        """An uncompressed ELF kernel with a PVH entry point."""
        return self.directory / "vmlinux"

    @property
    def initramfs(self) -> Path:
        """An uncompressed cpio."""
        return self.directory / "initramfs.img"

    @property
    def root(self) -> Path:
        """A squashfs; the guest looks for it on the SCSI disk whose serial is `vmsandbox-root`."""
        return self.directory / "root.squashfs"


def load_image(directory: Path) -> BuiltImage:
    """The image in `directory`, e.g. DEFAULT_DIRECTORY / "current".

    Raises:
        NotFound: there is none.
        FailedPrecondition: it was built by another version of this program, or is not whole.
    """
    directory = directory.resolve()
    try:
        manifest = parse_manifest((directory / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise NotFound(f"there is no guest image in {directory}", hint=_HINT) from None
    except ValueError as error:
        raise FailedPrecondition(f"the guest image in {directory}: {error}", hint=_HINT) from None
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing:
        raise FailedPrecondition(f"the guest image in {directory} lacks {', '.join(missing)}", hint=_HINT)
    return BuiltImage(directory, manifest)


def parse_manifest(text: bytes) -> GuestImageManifest:
    """Read a manifest. Raises ValueError if this version of the program cannot read it."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{MANIFEST} is not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{MANIFEST} is not of format {FORMAT}")
    names = {field.name for field in fields(GuestImageManifest)}
    if content.keys() != names:
        raise ValueError(f"{MANIFEST} lacks or has in excess: {', '.join(sorted(content.keys() ^ names))}")
    if content["files"].keys() != set(FILES):
        raise ValueError(f"{MANIFEST} has checksums of other files than {', '.join(FILES)}")
    return GuestImageManifest(**content)


def write_manifest(directory: Path, manifest: GuestImageManifest) -> None:
    """Write manifest.json."""
    (directory / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n")


def checksums(directory: Path) -> dict[str, str]:
    """The sha256 of each of an image's files."""
    return {name: _sha256(directory / name) for name in FILES}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
