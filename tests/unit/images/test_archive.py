"""Archives of images from somewhere: what in one would fill memory is refused before it is read."""

import io
import tarfile
from pathlib import Path

import pytest

from vmsandbox.config import ImagesConfig
from vmsandbox.errors import InvalidArgument, ResourceExhausted
from vmsandbox.images.archive import images_in
from vmsandbox.images.skopeo.skopeo import Skopeo

KIB = 1024


def header(size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo("h")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def extension(size: int, kind: bytes = tarfile.XHDTYPE) -> bytes:
    record = b"%d k=%b\n" % (size, b"v" * (size - len(str(size)) - 4))
    return header(size, kind) + record + bytes(-size % 512)


async def refused(archive: bytes, tmp_path: Path) -> Exception:
    (tmp_path / "archive.tar").write_bytes(archive + bytes(1024))
    (tmp_path / "staging").mkdir()
    skopeo = Skopeo(ImagesConfig(), tmp_path / "staging")
    with pytest.raises((InvalidArgument, ResourceExhausted)) as caught:
        await images_in(tmp_path / "archive.tar", skopeo)
    return caught.value


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
async def test_a_header_of_any_size_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    assert isinstance(await refused(header(4 << 30, kind), tmp_path), ResourceExhausted)


async def test_headers_in_front_of_no_member_are_refused_together(tmp_path: Path) -> None:
    assert isinstance(await refused(extension(60 * KIB) * 300, tmp_path), ResourceExhausted)


async def test_a_long_chain_of_small_headers_is_an_error_and_no_crash(tmp_path: Path) -> None:
    await refused(extension(20) * 5000, tmp_path)


async def test_members_without_number_are_refused(tmp_path: Path) -> None:
    assert isinstance(await refused(header(0, tarfile.REGTYPE) * 40_000, tmp_path), ResourceExhausted)


@pytest.mark.parametrize("form", ["old", "1.0"])
async def test_a_sparse_file_is_refused_before_its_map_is_read(tmp_path: Path, form: str) -> None:
    if form == "old":
        beginning = header(0, tarfile.GNUTYPE_SPARSE)
    else:
        info = tarfile.TarInfo("h")
        info.size = 4 << 30
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
        beginning = info.tobuf(tarfile.PAX_FORMAT) + b"999999999\n"
    error = await refused(beginning + b"0\n" * 4096, tmp_path)
    assert "sparse" in str(error)


async def test_an_archive_with_pax_headers_as_programs_write_them_is_read(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(500):
            info = tarfile.TarInfo(f"{number}/" + "long" * 40)
            info.mtime = 1.5
            tar.addfile(info)
    assert "not an archive of images" in str(await refused(made.getvalue(), tmp_path))
