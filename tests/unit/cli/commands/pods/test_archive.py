"""Archives from a container stay below their destination, whatever they say."""

import io
import os
import tarfile

import pytest

from vmsandbox.cli.commands.pods.archive import Destination, pack, unpack
from vmsandbox.errors import InvalidArgument


def member(name, kind=tarfile.REGTYPE, content=b"", **fields):
    made = tarfile.TarInfo(name)
    made.type, made.size = kind, len(content)
    for field, value in fields.items():
        setattr(made, field, value)
    return made, io.BytesIO(content)


def archive(*members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for made, content in members:
            tar.addfile(made, content)
    return io.BytesIO(data.getvalue())


@pytest.fixture
def place(tmp_path):
    """A destination, beside a directory that nothing may come to."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside").mkdir()
    yield Destination(tmp_path / "inside", "top")
    assert list((tmp_path / "outside").iterdir()) == []
    assert sorted(os.listdir(tmp_path)) == ["inside", "outside"]


def test_a_tree_comes_with_its_files_modes_and_links(place):
    warnings = []
    count = unpack(
        archive(
            member("src", tarfile.DIRTYPE, mode=0o755),
            member("src/tool", content=b"#!", mode=0o4755, mtime=1000),
            member("src/also", tarfile.LNKTYPE, linkname="src/tool"),
            member("src/deep/er/file", content=b"x" * 100_000),
            member("src/deep/link", tarfile.SYMTYPE, linkname="../tool"),
        ),
        place,
        warnings.append,
    )
    top = place.directory / "top"
    assert (count, warnings) == (5, [])
    assert (top / "tool").read_bytes() == b"#!"
    assert (top / "tool").stat().st_mode & 0o7777 == 0o755
    assert (top / "tool").stat().st_mtime == 1000
    assert (top / "also").samefile(top / "tool")
    assert len((top / "deep/er/file").read_bytes()) == 100_000
    assert (top / "deep/link").resolve() == top / "tool"


@pytest.mark.parametrize("name", ["../outside/x", "/outside/x", "top/../../outside/x", "top/.."])
def test_a_name_that_leads_elsewhere_is_refused(place, name):
    with pytest.raises(InvalidArgument, match="leads elsewhere"):
        unpack(archive(member(name, content=b"x")), place, pytest.fail)


@pytest.mark.parametrize(
    "target", ["../../outside", "/etc/passwd", "a/../../../outside", "..", "../..", "self/../../outside", "a/.."]
)
def test_a_link_that_leads_out_is_left_out_and_said(place, target):
    warnings = []
    unpack(
        archive(member("top", tarfile.DIRTYPE), member("top/l", tarfile.SYMTYPE, linkname=target)),
        place,
        warnings.append,
    )
    assert os.listdir(place.directory / "top") == []
    assert "out of the copied tree" in warnings[0]


def test_nothing_is_written_through_a_link_that_is_there(place, tmp_path):
    (place.directory / "top").mkdir()
    (place.directory / "top" / "way").symlink_to(tmp_path / "outside")
    with pytest.raises(NotADirectoryError):
        unpack(archive(member("top/way/x", content=b"x")), place, pytest.fail)
    (place.directory / "top" / "file").symlink_to(tmp_path / "outside" / "x")
    unpack(archive(member("top/file", content=b"mine")), place, pytest.fail)
    assert not (place.directory / "top" / "file").is_symlink()
    assert (place.directory / "top" / "file").read_bytes() == b"mine"


def test_a_hard_link_to_what_is_elsewhere_is_refused(place, tmp_path):
    with pytest.raises(InvalidArgument, match="leads elsewhere"):
        unpack(archive(member("top/l", tarfile.LNKTYPE, linkname="../outside/x")), place, pytest.fail)
    (place.directory / "top").mkdir()
    (place.directory / "top" / "s").symlink_to("/etc/passwd")
    with pytest.raises(InvalidArgument, match="hard link"):
        unpack(archive(member("top/l", tarfile.LNKTYPE, linkname="top/s")), place, pytest.fail)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_fifos_are_left_out(place, kind):
    warnings = []
    assert unpack(archive(member("top", tarfile.DIRTYPE), member("top/d", kind)), place, warnings.append) == 1
    assert os.listdir(place.directory / "top") == []
    assert "device or a FIFO" in warnings[0]


def test_a_header_that_would_take_all_memory_is_refused(place):
    huge = tarfile.TarInfo("x")
    huge.type, huge.size = tarfile.XHDTYPE, 1 << 30
    with pytest.raises(InvalidArgument, match="too large"):
        unpack(io.BytesIO(huge.tobuf(tarfile.USTAR_FORMAT) + bytes(10240)), place, pytest.fail)


@pytest.mark.parametrize(
    "data", [b"\xff" * 1024, b"garbage", archive(member("top/x", content=b"y" * 5000)).read()[:3000]]
)
def test_what_is_not_a_whole_archive_is_refused(place, data):
    with pytest.raises(InvalidArgument, match="not a proper tar archive"):
        unpack(io.BytesIO(data), place, pytest.fail)


def test_what_is_packed_belongs_to_root_and_has_its_new_name(tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "f").write_text("content")
    data = io.BytesIO()
    pack(tmp_path / "dir", "new", data)
    with tarfile.open(fileobj=io.BytesIO(data.getvalue())) as tar:
        assert [(one.name, one.uid, one.gid, one.uname) for one in tar] == [
            ("new", 0, 0, "root"),
            ("new/f", 0, 0, "root"),
        ]
