"""Reading tar archives: against Python's tarfile and GNU tar where they are honest, and by hand where they are not."""

import contextlib
import gzip
import io
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import SKIPPABLE_FRAME, compress
from tests.support.layers import Member, directory, file, layer_tar, merged_tars, names, unkept
from vmsandbox.errors import Internal, ResourceExhausted, VmsandboxError
from vmsandbox.images.oci.documents import Malformed
from vmsandbox.images.rootfs.layers import FILE_MEMORY, Budget, RootLimit
from vmsandbox.images.rootfs.pack import pack
from vmsandbox.images.rootfs.tar.compression import uncompressed_pieces
from vmsandbox.images.rootfs.tar.entry import FileKind, TarEntry
from vmsandbox.images.rootfs.tar.header import parse_header
from vmsandbox.images.rootfs.tar.pax import XATTR, integer, parse_records
from vmsandbox.images.rootfs.tar.reader import read_entries
from vmsandbox.images.rootfs.tar.stream import TarStream
from vmsandbox.images.rootfs.tree.merging import merge
from vmsandbox.images.rootfs.tree.tree import FileTree
from vmsandbox.images.rootfs.writer import member

FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def entries(archive: bytes, chunk: int = 1 << 20, limit: RootLimit | None = None) -> list[TarEntry]:
    source = (archive[start : start + chunk] for start in range(0, len(archive), chunk))
    return list(read_entries(TarStream(source), Budget(limit or RootLimit())))


def content(entry: TarEntry, archive: bytes) -> bytes:
    assert entry.content
    return archive[entry.content.offset : entry.content.offset + entry.content.size]


def repacked(archive: bytes) -> dict[str, tarfile.TarInfo]:
    """Return the entries that tarfile reads from the stream that tar2sqfs gets."""
    tree = merged_tars(archive)
    stream = b"".join(pack(tree, [unkept(archive)], Budget(RootLimit())))
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        return {info.name: info for info in tar}


_names = st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1, max_size=120).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) <= 255
)
_members = st.builds(
    Member,
    name=st.lists(_names, min_size=1, max_size=4).map("/".join),
    type=st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.SYMTYPE]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**21),
    mtime=st.integers(-(2**31), 2**33),
    linkname=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=200),
    device=st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1)),
    data=st.binary(max_size=1500),
    xattrs=st.dictionaries(st.sampled_from(["user.a", "user.b", "security.capability"]), st.binary(max_size=60)),
)


def honest(members: Sequence[Member]) -> list[Member]:
    """Data only where it belongs."""
    return [m if m.type == tarfile.REGTYPE else Member(**{**_fields(m), "data": b""}) for m in members]


def _fields(m: Member) -> dict[str, object]:
    return {name: getattr(m, name) for name in m.__dataclass_fields__}


@given(st.lists(_members, max_size=5), st.integers(1, 3000))
def test_a_pax_archive_is_read_as_tarfile_wrote_it(members: list[Member], chunk: int) -> None:
    members = honest(members)
    archive = layer_tar(members)
    for m, entry in zip(members, entries(archive, chunk), strict=True):
        assert entry.name.rstrip(b"/") == m.name.encode()
        assert entry.kind.value == m.type
        assert (entry.mode, entry.uid, entry.gid, entry.mtime) == (m.mode, m.uid, m.gid, m.mtime)
        assert dict(entry.xattrs) == {name.encode(): value for name, value in m.xattrs.items()}
        if m.type == tarfile.REGTYPE:
            assert content(entry, archive) == m.data
        if m.type == tarfile.SYMTYPE:
            assert entry.linkname == m.linkname.encode()
        if m.type == tarfile.CHRTYPE:
            assert entry.device == m.device


@given(_members, st.sampled_from(sorted(FORMATS)))
def test_every_format_gives_the_same_entry(m: Member, format: str) -> None:
    (m,) = honest([Member(**{**_fields(m), "xattrs": {}, "uid": m.uid % 2**21, "mtime": abs(m.mtime) % 2**32})])
    try:
        archive = layer_tar([m], FORMATS[format])
    except ValueError:  # the old formats cannot have it
        return
    (entry,) = entries(archive)
    assert entry.name.rstrip(b"/") == m.name.encode()
    assert (entry.kind.value, entry.uid, entry.mtime) == (m.type, m.uid, m.mtime)


@given(_members)
def test_what_is_written_for_tar2sqfs_is_what_was_read(m: Member) -> None:
    (m,) = honest([m])
    (entry,) = entries(layer_tar([m]))
    tree = FileTree(Budget(RootLimit()))
    tree.add(entry)
    node = tree.find(m.name.encode())
    assert node
    (again,) = entries(member(entry.name, node) + m.data + bytes(-len(m.data) % 512))
    assert (again.name, again.kind, again.mode, again.uid, again.gid) == (
        entry.name, entry.kind, entry.mode, entry.uid, entry.gid,
    )  # fmt: skip
    assert again.mtime == min(max(entry.mtime, 0), 2**32 - 1)
    assert again.xattrs == node.xattrs
    assert again.linkname == (entry.linkname if entry.kind is FileKind.SYMLINK else b"")
    assert again.device == entry.device


@given(st.binary(max_size=4000))
def test_garbage_is_an_error_and_never_anything_worse(data: bytes) -> None:
    with contextlib.suppress(VmsandboxError):
        entries(data)


@given(st.lists(_members, min_size=1, max_size=3), st.data())
def test_a_damaged_archive_is_an_error_or_another_archive(members: list[Member], data: st.DataObject) -> None:
    archive = bytearray(layer_tar(honest(members)))
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(VmsandboxError):
        merged_tars(bytes(archive), limit=RootLimit(size=1 << 20))


@pytest.mark.parametrize("cut", [100, 512, 700, 1023])
def test_an_archive_that_is_cut_short_says_so(cut: int) -> None:
    archive = layer_tar([file("a", b"x" * 600)], tarfile.USTAR_FORMAT)
    with pytest.raises(Malformed, match="cut short"):
        entries(archive[:cut])


def test_an_archive_without_its_end_blocks_is_whole() -> None:
    assert len(entries(layer_tar([file("a", b"x" * 600)], tarfile.USTAR_FORMAT)[: 3 * 512])) == 1


def test_nothing_at_all_is_an_empty_layer() -> None:
    assert entries(b"") == []
    assert names(merged_tars(b"")) == []


def test_a_broken_header_in_the_middle_is_not_the_end() -> None:
    archive = layer_tar([file("a"), file("b")], tarfile.USTAR_FORMAT)
    with pytest.raises(Malformed, match="checksum"):
        entries(archive[:512] + b"?" + archive[513:])


def edited(archive: bytes, start: int, value: bytes, at: int = 0) -> bytes:
    """The archive with other bytes in a header, and the checksum that fits them."""
    block = bytearray(archive[at : at + 512])
    block[start : start + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return archive[:at] + bytes(block) + archive[at + 512 :]


PLAIN = layer_tar([file("a", b"data")], tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("start", "value"),
    [
        (124, b"\xff" + b"\xff" * 11),  # a size of -1
        (124, b"00000000o12\0"),
        (108, b"\x80\0\0\1\0\0\0\0"),  # a uid of 2**32
        (108, b"\xff" * 8),
        (156, b"V"),
        (156, b"D"),
        (100, b"-000001\0"),
        (136, b"0x123456789\0"),
    ],
)
def test_a_header_with_a_number_or_a_type_that_cannot_be_is_refused(start: int, value: bytes) -> None:
    with pytest.raises(Malformed):
        entries(edited(PLAIN, start, value))


@pytest.mark.parametrize("size", [b"\x80" + b"\0" * 3 + b"\x7f" * 8, b"77777777777\0"])
def test_a_size_that_the_archive_does_not_have_is_refused(size: bytes) -> None:
    with pytest.raises(Malformed, match="cut short"):
        entries(edited(PLAIN, 124, size))


@pytest.mark.parametrize("device", [(4096, 0), (0, 2**20)])
def test_a_device_number_that_linux_cannot_have_is_refused(device: tuple[int, int]) -> None:
    with pytest.raises(Malformed, match="device"):
        entries(layer_tar([Member("d", tarfile.BLKTYPE, device=device)], tarfile.GNU_FORMAT))


def test_a_signed_checksum_is_accepted() -> None:
    archive = bytearray(edited(PLAIN, 0, "ä".encode()))
    block = bytes(archive[:512])
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
    archive[148:156] = b"%06o\0 " % signed
    assert entries(bytes(archive))[0].name == "ä".encode()


def test_a_version_7_directory_is_a_file_whose_name_ends_in_a_slash() -> None:
    archive = edited(edited(layer_tar([file("d/")], tarfile.USTAR_FORMAT), 156, b"\0"), 257, bytes(8))
    (entry,) = entries(archive)
    assert entry.kind is FileKind.DIRECTORY


def test_a_hard_link_with_a_size_has_no_data() -> None:
    archive = edited(layer_tar([file("a"), file("b")], tarfile.USTAR_FORMAT), 156, b"1")
    archive = edited(archive, 124, b"00000001000\0")
    assert [entry.name for entry in entries(archive)] == [b"a", b"b"]


def test_a_gnu_header_has_times_where_ustar_has_a_prefix() -> None:
    archive = edited(layer_tar([file("a")], tarfile.GNU_FORMAT), 345, b"14000000000\0")
    assert entries(archive)[0].name == b"a"


def pax(records: bytes, target: bytes = PLAIN, flag: bytes = b"x") -> bytes:
    header = bytearray(layer_tar([file("pax", records)], tarfile.USTAR_FORMAT)[:512])
    return edited(bytes(header), 156, flag) + records + bytes(-len(records) % 512) + target


def record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = next(n for n in range(rest, rest + 9) if n == rest + len(str(n)))
    return b"%d %b=%b\n" % (length, key, value)


def test_pax_records_win_over_the_header_and_hold_for_one_entry() -> None:
    records = record(b"path", b"long") + record(b"uid", b"70000") + record(b"mtime", b"-1.5") + record(b"gid", b"")
    first, second = entries(pax(records, layer_tar([file("a"), file("b")], tarfile.USTAR_FORMAT)))
    assert (first.name, first.uid, first.gid, first.mtime) == (b"long", 70000, 0, -2)
    assert (second.name, second.uid) == (b"b", 0)


def test_a_global_pax_header_says_nothing() -> None:
    assert entries(pax(record(b"path", b"other"), flag=b"g"))[0].name == b"a"


@pytest.mark.parametrize(
    "records",
    [
        b"6 a=b",
        b"999 a=b\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"a=b\n",
        b"6 ab\n\n",
        b"5 a=b\n",
        b"1" * 5000 + b" a=b\n",
        b"+6 a=b\n",
        b"6 a=b\nx",
        record(b"path", b"a\0b"),
        record(b"uid", b"-1"),
        record(b"uid", b"1" * 5000),
        record(b"uid", b"0x1"),
        record(b"size", b"-5"),
        record(b"mtime", b"1.x"),
        record(b"linkpath", b"\0"),
    ],
)
def test_pax_records_that_cannot_be_are_refused(records: bytes) -> None:
    with pytest.raises(Malformed):
        entries(pax(records))


def test_a_header_that_would_fill_memory_is_refused() -> None:
    with pytest.raises(Malformed, match="extended headers for one entry"):
        entries(edited(pax(record(b"path", b"x")), 124, b"77777777777\0"))


@pytest.mark.parametrize("flag", [b"x", b"L", b"K"])
def test_headers_in_front_of_no_entry_are_bounded_together(flag: bytes) -> None:
    """300 of 1 MiB each are 317 KiB of gzip; what they said was kept, and took 10 GiB."""
    many = b"".join(pax(record(b"k%d" % n, b"v" * 500_000), b"", flag) for n in range(4))
    with pytest.raises(Malformed, match="extended headers for one entry"):
        entries(many)


def test_headers_that_say_nothing_of_an_entry_are_charged() -> None:
    empty = layer_tar([file("a")], tarfile.USTAR_FORMAT)[:512]
    many = b"".join(pax(b"", empty, b"g") for _ in range(100))
    assert len(entries(many)) == 100
    with pytest.raises(ResourceExhausted):
        entries(many, limit=RootLimit(memory=100 * FILE_MEMORY + 100 * 400))


def test_records_that_say_nothing_here_are_not_kept() -> None:
    data = (
        record(b"comment", b"x" * 9000) + record(b"atime", b"1") + record(b"path", b"p") + record(b"LIBARCHIVE.a", b"")
    )
    assert parse_records(data) == {b"path": b"p"}


def test_a_name_that_no_path_is_as_long_as_is_refused() -> None:
    with pytest.raises(Malformed, match="name of 20000 bytes"):
        entries(pax(record(b"path", b"a/" * 10_000)))


_honest_names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60)


@given(st.lists(st.builds(file, _honest_names, st.binary(max_size=600), mtime=st.integers(0, 2**33)), max_size=20),
       st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))  # fmt: skip
def test_an_honest_file_is_charged_a_few_kilobytes(members: list[Member], format: int) -> None:
    limit = RootLimit(memory=1 + len(members) * (FILE_MEMORY + 3000))
    assert len(entries(layer_tar(members, format), limit=limit)) == len(members)


@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=20).filter(lambda key: b"=" not in key).map(XATTR.__add__),
        st.binary(max_size=90),
    )
)
def test_pax_records_are_read_whatever_their_values_hold(records: dict[bytes, bytes]) -> None:
    data = b"".join(record(key, value) for key, value in records.items())
    assert parse_records(data) == records


@pytest.mark.parametrize(
    ("text", "number"),
    [(b"12", 12), (b"12.9", 12), (b"-1", -1), (b"-1.5", -2), (b"-0.5", -1), (b"3.", 3), (b"-2.0", -2)],
)
def test_a_time_is_cut_to_the_second_before(text: bytes, number: int) -> None:
    assert integer(text) == number


SPARSE = bytes(8192) + b"first" + bytes(100_000) + b"second" + bytes(70_000)


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=posix", "--sparse-version=0.0"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--sparse-version=1.0"],
    ],
    ids=["old", "0.0", "0.1", "1.0"],
)
@pytest.mark.parametrize("pieces", [1, 60])
def test_sparse_files_of_gnu_tar_keep_name_size_and_content(tmp_path: Path, options: list[str], pieces: int) -> None:
    whole = SPARSE * pieces
    with (tmp_path / "sparse").open("wb") as sparse:
        for start in range(0, len(whole), 4096):
            block = whole[start : start + 4096]
            if any(block):
                sparse.seek(start)
                sparse.write(block)
        sparse.truncate(len(whole))
    (tmp_path / "after").write_bytes(b"after")
    command = ["tar", "-c", "-S", "-C", tmp_path, *options, "sparse", "after"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(archive) < len(whole) // 2
    stream = b"".join(pack(merged_tars(archive), [unkept(archive)], Budget(RootLimit())))
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        files = {info.name: tar.extractfile(info).read() for info in tar if info.isreg()}  # type: ignore[union-attr]
    assert files == {"sparse": whole, "after": b"after"}


def sparse(map: bytes, size: bytes, data: bytes = b"data") -> bytes:
    records = record(b"GNU.sparse.map", map) + record(b"GNU.sparse.size", size)
    return pax(records, layer_tar([file("a", data)], tarfile.USTAR_FORMAT))


@pytest.mark.parametrize(
    ("map", "size"),
    [
        (b"0,4,2,4", b"10"),
        (b"8,4", b"10"),
        (b"0,3", b"10"),
        (b"0,5", b"10"),
        (b"4,2,0,2", b"10"),
        (b"0", b"10"),
        (b"0,4", b"3"),
        (b"0,4", b"-1"),
        (b"0,4", b""),
        (b"0,-4,0,8", b"10"),
        (b"a,b", b"10"),
    ],
)
def test_a_sparse_map_that_cannot_be_is_refused(map: bytes, size: bytes) -> None:
    with pytest.raises(Malformed):
        entries(sparse(map, size))


def test_a_sparse_file_larger_than_the_limit_is_refused_before_it_is_written() -> None:
    archive = sparse(b"0,4", b"9" * 15)
    tree = merged_tars(archive)
    with pytest.raises(ResourceExhausted):
        next(iter([b"".join(pack(tree, [], Budget(RootLimit())))]))


@pytest.mark.parametrize("lines", [b"1000000000\n", b"x\n", b"9" * 600, b"1\n0\n-4\n", b"2\n0\n2\n"])
def test_a_leading_sparse_map_that_cannot_be_is_refused(lines: bytes) -> None:
    records = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")
    records += record(b"GNU.sparse.realsize", b"10") + record(b"GNU.sparse.name", b"s")
    data = lines + bytes(-len(lines) % 512) + b"data"
    with pytest.raises((Malformed, ResourceExhausted)):
        entries(pax(records, layer_tar([file("a", data)], tarfile.USTAR_FORMAT)))


def test_hard_links_follow_their_target_in_the_stream_and_carry_no_data() -> None:
    found = repacked(layer_tar([file("z", b"data"), Member("a", tarfile.LNKTYPE, linkname="z"), directory("d")]))
    assert list(found) == [".", "d", "a", "z"]
    assert found["z"].islnk() and found["z"].linkname == "a"
    assert found["a"].size == 4


def test_only_what_survives_is_in_the_stream() -> None:
    low = layer_tar([file("kept", b"kept"), file("gone", b"gone"), file("replaced", b"old")])
    up = layer_tar([file("replaced", b"new"), file(".wh.gone")])
    stream = b"".join(pack(merged_tars(low, up), [unkept(low), unkept(up)], Budget(RootLimit())))
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        files = {info.name: tar.extractfile(info).read() for info in tar if info.isreg()}  # type: ignore[union-attr]
    assert files == {"kept": b"kept", "replaced": b"new"}


def test_long_names_count_where_they_are_held_in_memory() -> None:
    deep = "/".join(["d" * 200] * 19)
    archive = layer_tar(
        [directory(deep), Member("l", tarfile.SYMTYPE, linkname=deep), *(file(f"l/{n}") for n in range(50))]
    )
    tree = merged_tars(archive)
    with pytest.raises(ResourceExhausted):
        list(pack(tree, [], Budget(RootLimit(memory=150_000))))


def test_files_of_more_users_than_squashfs_can_hold_are_refused() -> None:
    tree = merged_tars(layer_tar([file(f"f{n}", uid=n, gid=n + 33_000) for n in range(33_000)], tarfile.USTAR_FORMAT))
    with pytest.raises(ResourceExhausted, match="65535 users"):
        list(pack(tree, [], Budget(RootLimit())))


def uncompressed(blob: bytes) -> bytes:
    return b"".join(uncompressed_pieces(io.BytesIO(blob)))


def zstd(data: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, check=True, capture_output=True).stdout


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_layers_of_several_gzip_members_or_zstd_frames_are_read_whole(size: int) -> None:
    data = b"0123456789" * (size // 10)
    skippable = SKIPPABLE_FRAME
    assert uncompressed(gzip.compress(data) + gzip.compress(data) + bytes(99)) == data * 2
    assert uncompressed(zstd(data) + skippable + zstd(data)) == data * 2
    assert uncompressed(skippable + zstd(data)) == data
    assert uncompressed(data) == data


@pytest.mark.parametrize("compression", ["gzip", "zstd", "skippable"])
def test_a_compressed_layer_that_is_cut_short_or_garbage_is_an_error(compression: str) -> None:
    archive = layer_tar([file("a", bytes(range(256)) * 2000)])
    whole = compress(archive, compression)
    for blob in (whole[: len(whole) // 2], b"garbage", whole + b"garbage", whole[:30] + b"?" + whole[31:]):
        with pytest.raises((Malformed, Internal)):
            merge(["sha256:" + "0" * 64], [unkept(blob)], RootLimit())


def test_a_zstd_frame_that_asks_for_more_memory_than_is_allowed_is_refused() -> None:
    blob = zstd(bytes(300 << 20), "--long=28", "--fast=5")
    with pytest.raises(Malformed, match="damaged"):
        uncompressed(blob)


def test_a_bomb_is_refused_at_the_limit() -> None:
    blob = gzip.compress(bytes(20_000_000))
    with pytest.raises(ResourceExhausted, match="unpacks to more than 1000000 bytes"):
        merge([""], [unkept(blob)], RootLimit(size=1_000_000))


def test_a_layer_with_another_diff_id_is_refused() -> None:
    with pytest.raises(Internal, match="diff_id"):
        merge(["sha256:" + "0" * 64], [unkept(PLAIN)], RootLimit())


def test_what_follows_the_archive_counts_for_its_digest() -> None:
    assert names(merged_tars(PLAIN + bytes(20480) + b"more")) == ["a"]


def test_the_header_of_a_file_gives_its_fields() -> None:
    header = parse_header(layer_tar([file("name", b"1234", mode=0o640, uid=7, gid=8, mtime=9)])[:512])
    assert (header.name, header.size, header.mode, header.uid, header.gid, header.mtime) == (b"name", 4, 0o640, 7, 8, 9)
