"""Guest images that come as one file: whole and as its manifest says, or not at all."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.fakes.guest_image import make_guest_image
from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.fs.locks import try_locked
from vmsandbox.guestimage import BuiltImage, export_image, import_image, load_image

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    return make_guest_image(tmp_path / "built", key="0123456789abcdef")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A directory of guest images in which another one is current."""
    other = make_guest_image(tmp_path / "images" / "fedcba9876543210", key="fedcba9876543210")
    (tmp_path / "images" / "current").symlink_to(other.directory.name)
    return tmp_path / "images"


def exported(image: BuiltImage) -> bytes:
    written = io.BytesIO()
    export_image(image, written)
    return written.getvalue()


def changed(image: BuiltImage, change: Change) -> bytes:
    """Return an archive that somebody has made with other files."""
    plain = zstandard.ZstdDecompressor().stream_reader(exported(image)).read()
    files = {}
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content
            files[member.name] = content.read()
    change(files)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return zstandard.ZstdCompressor().compress(packed.getvalue())


def test_an_exported_image_is_imported_whole_and_becomes_current(image: BuiltImage, output: Path) -> None:
    taken = import_image(io.BytesIO(exported(image)), output)
    assert taken.manifest == image.manifest
    assert taken == load_image(output / "current")
    assert taken.directory == output / "0123456789abcdef"
    for path in image.directory.iterdir():
        assert (taken.directory / path.name).read_bytes() == path.read_bytes()
        assert (taken.directory / path.name).stat().st_mode & 0o400


def test_the_same_image_gives_the_same_archive(image: BuiltImage) -> None:
    assert exported(image) == exported(image)


def test_an_image_that_is_there_is_left_alone_since_machines_run_from_it(image: BuiltImage, output: Path) -> None:
    archive = exported(image)
    first = import_image(io.BytesIO(archive), output).kernel.stat()
    assert import_image(io.BytesIO(archive), output).kernel.stat().st_ino == first.st_ino


def test_an_image_that_is_there_and_damaged_is_replaced(image: BuiltImage, output: Path) -> None:
    archive = exported(image)
    import_image(io.BytesIO(archive), output).kernel.write_bytes(b"rotten")
    assert import_image(io.BytesIO(archive), output).kernel.read_bytes() == image.kernel.read_bytes()


def _flip(files: dict[str, bytes]) -> None:
    files["root.squashfs"] = files["root.squashfs"][:-1] + b"!"


def _lead_away(files: dict[str, bytes]) -> None:
    files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | {"key": "../../etc"}).encode()


def _reorder(files: dict[str, bytes]) -> None:
    files["manifest.json"] = files.pop("manifest.json")


def _other_format(files: dict[str, bytes]) -> None:
    files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | {"format": 2}).encode()


def _more(files: dict[str, bytes]) -> None:
    files["../../outside"] = b"more"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_flip, "root.squashfs does not have the sha256"),
        (_lead_away, "'../../etc' is not the name of an image"),
        (_reorder, "vmlinux is where manifest.json should be"),
        (_other_format, "not of format 1"),
        (_more, "there is more in it"),
    ],
)
def test_an_archive_that_is_not_what_it_says_changes_nothing(
    image: BuiltImage, output: Path, change: Change, said: str
) -> None:
    before = sorted(output.rglob("*"))
    with pytest.raises(InvalidArgument, match=said):
        import_image(io.BytesIO(changed(image, change)), output)
    assert sorted(path for path in output.rglob("*") if path.name != "lock") == before
    assert load_image(output / "current").manifest.key == "fedcba9876543210"


@pytest.mark.parametrize("part", [0, 1, 20, 0.5, 0.98])
def test_an_archive_that_was_cut_short_changes_nothing(image: BuiltImage, output: Path, part: float) -> None:
    archive = exported(image)
    cut = archive[: int(part * len(archive)) if part < 1 else int(part)]
    with pytest.raises(InvalidArgument):
        import_image(io.BytesIO(cut), output)
    assert load_image(output / "current").manifest.key == "fedcba9876543210"
    assert not [path for path in output.iterdir() if path.name.startswith(".")]


def test_any_other_file_is_not_an_archive(output: Path) -> None:
    with pytest.raises(InvalidArgument, match="not an archive of a guest image"):
        import_image(io.BytesIO(b"vmlinux" * 100), output)


def test_an_import_waits_for_no_build(image: BuiltImage, output: Path) -> None:
    with try_locked(output / "lock"), pytest.raises(FailedPrecondition, match="another build or import"):
        import_image(io.BytesIO(exported(image)), output)
