"""Root images, entry by entry, against what containerd or umoci unpack of the same image."""

import asyncio
import contextlib
import gzip
import itertools
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builder import builders, endless_layer, layers_of, make_root_image
from tests.support.containerd import Containerd, running_containerd
from tests.support.images import build_image
from tests.support.layers import Member, directory, file, hard_link, layer_tar, merged_tars, opaque, symlink, whiteout
from tests.support.rootfs import make_rootfs
from tests.support.trees import File, files_of, files_of_tree, unpacked_by_umoci, unpacked_root_image
from vmsandbox.errors import DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted, VmsandboxError
from vmsandbox.images.rootfs import RootLimit
from vmsandbox.images.rootfs.tar.entry import FileKind
from vmsandbox.images.rootfs.tree.node import TreeNode
from vmsandbox.images.rootfs.writer import member


def build(tars: Sequence[bytes], where: Path, compression: str = "", limit: RootLimit | None = None) -> Path:
    image = where / "root.squashfs"
    asyncio.run(make_root_image(layers_of(tars, where, compression), image, limit or RootLimit()))
    return image


def built_tree(tars: Sequence[bytes], where: Path) -> dict[str, File]:
    return files_of(unpacked_root_image(build(tars, where), where / "ours"))


def assert_as_umoci(tars: Sequence[bytes], where: Path) -> None:
    theirs = files_of(unpacked_by_umoci(build_image(tars), where / "umoci"))
    ours = built_tree(tars, where)
    assert_same(ours, {**theirs, ".": ours["."]})  # umoci gives the root the attributes that a layer says


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """containerd, with overlayfs as its snapshotter."""
    with running_containerd(tmp_path_factory.mktemp("judge") / "containerd") as containerd:
        yield containerd


def judged(judge: Containerd, tars: Sequence[bytes], where: Path) -> dict[str, File]:
    """Return containerd's result of layers. Raises CalledProcessError if it refuses them."""
    with judge.unpacked(build_image(tars), where) as root:
        return comparable(files_of(root))


def comparable(files: dict[str, File]) -> dict[str, File]:
    """Files without what an archive does not say.

    containerd gives a directory that is implied the time of the run, and the attributes that a hard link's entry
    repeats to the file; honest archives repeat those of the file.
    """
    return {
        name: replace(each, mode=0, uid=0, gid=0, mtime=0, xattrs=())
        if len(each.links) > 1
        else replace(each, mtime=0)
        if stat.S_ISDIR(each.type)
        else each
        for name, each in files.items()
    }


def assert_same(ours: dict[str, File], theirs: dict[str, File]) -> None:
    assert sorted(ours) == sorted(theirs)
    for name, mine in ours.items():
        assert mine == theirs[name], name


def snapshot(tree: Path, *options: str) -> bytes:
    """A directory as a layer, by GNU tar."""
    command = ["tar", "-c", "--numeric-owner", *options, "-C", tree, "."]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """Files of Debian's packages: busybox with its applets as hard links, libraries, time zones, with attributes."""
    root = make_rootfs(tmp_path / "rootfs")
    for part in ("America", "Europe", "Etc"):
        shutil.copytree(f"/usr/share/zoneinfo/{part}", root / "usr/share/zoneinfo" / part, symlinks=True)
    subprocess.run(["setcap", "cap_net_raw+ep", root / "bin/busybox"], check=True)
    os.setxattr(root / "srv", "user.note", b"binary\0value\n=")
    os.setxattr(root / "etc", "trusted.note", b"2")
    os.mknod(root / "dev/null", 0o666 | 0o020000, os.makedev(1, 3))
    os.mknod(root / "dev/disk", 0o660 | 0o060000, os.makedev(259, 70000))
    os.mkfifo(root / "run/pipe")
    os.symlink("../outside/" + "long" * 60, root / "var/link")
    (root / "srv" / ("long-name-" * 20)).write_bytes(b"long")
    (root / "srv/ünïcode \\ and\nnewline").write_bytes(os.urandom(200_000))
    (root / "srv/set-uid").write_bytes(b"x")
    os.chown(root / "srv/set-uid", 3_000_000, 70_000)
    (root / "srv/set-uid").chmod(0o6755)
    os.truncate(root / "srv/set-uid", 5_000_000)
    return root


XATTRS = ("--xattrs", "--xattrs-include=*")


@pytest.mark.parametrize("options", [[*XATTRS], ["--format=gnu"], [*XATTRS, "-S"]], ids=["pax", "gnu", "sparse"])
def test_a_real_root_file_system_is_what_umoci_makes_of_it(rootfs: Path, tmp_path: Path, options: list[str]) -> None:
    assert_as_umoci([snapshot(rootfs, *options)], tmp_path)


def test_the_kernel_reads_what_is_in_a_root_image(rootfs: Path, tmp_path: Path) -> None:
    image = build([snapshot(rootfs, *XATTRS)], tmp_path)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro,nodev,nosuid", image, mounted], check=True)
    try:
        ours = files_of(mounted)
        assert_same(ours, {**files_of(rootfs), ".": ours["."]})
    finally:
        subprocess.run(["umount", mounted], check=True)


def umoci(*command: str | Path) -> None:
    subprocess.run(["umoci", *command], check=True, capture_output=True, text=True)


def blobs_of_umoci(layout: Path) -> list[bytes]:
    """The layers that are in a layout of umoci's, uncompressed, the lowest first."""

    def blob(digest: str) -> bytes:
        return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    return [gzip.decompress(blob(layer["digest"])) for layer in json.loads(blob(entry["digest"]))["layers"]]


def test_layers_that_umoci_made_of_changes_are_merged_to_what_was_there(rootfs: Path, tmp_path: Path) -> None:
    """Files deleted and replaced, links to lower layers, kinds and attributes that change."""
    layout, bundle = tmp_path / "made", tmp_path / "bundle"
    umoci("init", "--layout", layout)
    umoci("new", "--image", f"{layout}:image")
    umoci("unpack", "--image", f"{layout}:image", bundle)
    root = bundle / "rootfs"
    subprocess.run(["cp", "-a", f"{rootfs}/.", root], check=True)
    umoci("repack", "--refresh-bundle", "--image", f"{layout}:image", bundle)
    _change(root)
    umoci("repack", "--refresh-bundle", "--image", f"{layout}:image", bundle)
    (root / "srv").rmdir()
    (root / "srv").write_text("a file now")
    shutil.rmtree(root / "usr/share/zoneinfo/Europe")
    umoci("repack", "--image", f"{layout}:image", bundle)
    layers = blobs_of_umoci(layout)
    assert len(layers) == 3
    assert_as_umoci(layers, tmp_path)


def _change(root: Path) -> None:
    for path in list((root / "srv").iterdir()):
        path.unlink()
    shutil.rmtree(root / "usr/share/zoneinfo/America")
    os.link(root / "bin/busybox", root / "var/busybox")
    (root / "bin/ls").unlink()
    (root / "etc").chmod(0o700)
    (root / "tmp").rmdir()
    (root / "tmp").symlink_to("var")
    (root / "dev/disk").unlink()
    (root / "dev/disk").mkdir()
    (root / "dev/disk/by-id").write_text("x")
    os.setxattr(root / "root", "user.new", b"1")


LOWER = [
    directory("./", 0o755), directory("d", 0o750, uid=3, xattrs={"user.low": b"1"}), file("d/a", b"a" * 5000, mtime=10),
    file("d/b", b"b", mode=0o4755), directory("d/sub", mtime=7), file("d/sub/x", b"x"), symlink("l", "d/sub"),
    hard_link("d/a2", "d/a", mtime=10), file("e", b"e", xattrs={"security.capability": b"\x01\0\0\x02" + bytes(16)}),
    directory("f"), file("f/inside"),
]  # fmt: skip


@pytest.mark.parametrize(
    "upper",
    [
        [whiteout("d/a")],
        [whiteout("d")],
        [directory("d", 0o711), opaque("d"), file("d/new", b"n")],
        [directory("d"), file("d/new"), opaque("d")],
        [opaque("d"), directory("d/sub", 0o700), file("d/sub/y")],
        [file("d", b"now a file")],
        [directory("e"), file("e/x")],
        [symlink("f", "d")],
        [file("l/through-a-link", b"t")],
        [whiteout("l/x")],
        [opaque("l"), file("l/new", b"n")],
        [symlink("l", "d"), file("l/through-a-link-of-this-layer", b"t")],
        [symlink("dangling", "d/new"), file("dangling/x", b"x")],
        [whiteout("no/such"), whiteout("e/no")],
        [whiteout("e"), file("e", b"new")],
        [directory("d", 0o700, uid=9, gid=9, mtime=99, xattrs={"user.up": b"2"})],
        [Member("e", tarfile.CHRTYPE, device=(1, 3), mode=0o620)],
        [file("../../d/out", b"o"), file("/abs", b"a"), file("d/../up", b"u")],
        [symlink("out", "../../../d"), file("out/x", b"x")],
        [file(".wh.missing"), file("d/.wh.missing")],
        [directory("./", 0o700, uid=4, mtime=3)],
        [file("."), file("d/..")],
    ],
    ids=lambda upper: " ".join(m.name for m in upper),
)
def test_an_upper_layer_changes_what_it_changes_with_containerd(
    upper: list[Member], tmp_path: Path, judge: Containerd
) -> None:
    tars = [layer_tar(LOWER), layer_tar(upper)]
    assert_same(comparable(built_tree(tars, tmp_path)), judged(judge, tars, tmp_path))


@pytest.mark.parametrize(
    "upper",
    [
        [hard_link("g", "d/a"), file("d/a", b"new")],
        [hard_link("g", "d/sub/x"), whiteout("d/sub")],
        [file("e", b"new"), whiteout("e")],
    ],
    ids=lambda upper: " ".join(m.name for m in upper),
)
def test_what_containerd_refuses_and_umoci_does_not_is_as_with_umoci(upper: list[Member], tmp_path: Path) -> None:
    assert_as_umoci([layer_tar(LOWER), layer_tar(upper)], tmp_path)


def test_hard_links_into_what_aufs_keeps_for_itself_are_one_file(tmp_path: Path, judge: Containerd) -> None:
    """containerd shows aufs's directory, too."""
    shared = {"mode": 0o640, "uid": 4, "mtime": 7}
    layer = [
        directory(".wh..wh.plnk"), file(".wh..wh.plnk/103.5", b"shared", **shared), file(".wh..wh.aufs"),
        hard_link("a", ".wh..wh.plnk/103.5", **shared), hard_link("b", "./.wh..wh.plnk/103.5", **shared),
    ]  # fmt: skip
    theirs = judged(judge, [layer_tar(layer)], tmp_path)
    ours = built_tree([layer_tar(layer)], tmp_path)
    assert sorted(ours) == [".", "a", "b"]
    assert ours["a"].links == {"a", "b"}
    assert ours["a"].content == theirs["a"].content


_paths = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/f", "d/e/f/a", "l", "../b"])
_symlinks = st.sampled_from(["l", "a", "d/a", "d/e/a"])
"""None is on the way to a name: umoci follows those of lower layers."""
_numbers = st.integers(0, 1_000_000)
_links = st.sampled_from(["a", "d", "d/a", "/d", "d/e", "..", "../..", "nowhere", "m"])
_randoms = st.one_of(
    st.builds(file, _paths, st.binary(max_size=600), mode=st.integers(0, 0o7777), uid=_numbers, mtime=_numbers),
    st.builds(directory, _paths, mode=st.integers(0, 0o1777), gid=_numbers, mtime=_numbers),
    st.builds(symlink, _symlinks, _links),
    st.builds(hard_link, _paths, _paths),
    st.builds(whiteout, _paths),
    st.builds(file, _paths, type=st.sampled_from([tarfile.FIFOTYPE, tarfile.CHRTYPE]), device=st.just((1, 3))),
    st.builds(directory, _paths, xattrs=st.dictionaries(st.sampled_from(["user.a", "user.b"]), st.just(b"value"))),
)
_opaques = st.builds(lambda path: [directory(path), opaque(path)], _paths)
"""An opaque mark alone makes its directory, as with containerd; umoci makes none."""
_steps = st.lists(st.one_of(st.builds(lambda member: [member], _randoms), _opaques), max_size=8)
_layers = st.lists(_steps.map(lambda steps: [*itertools.chain(*steps)]), min_size=1, max_size=4)


@given(layers=_layers)
@settings(max_examples=100, deadline=None)
def test_random_layers_are_merged_as_by_umoci(layers: list[list[Member]]) -> None:
    base = [directory("d", mtime=1), directory("d/e", mtime=2), directory("d/e/f"), file("a"), file("b")]
    tars = [layer_tar(layer) for layer in [base, *layers]]
    with tempfile.TemporaryDirectory() as name:
        try:
            theirs = files_of(unpacked_by_umoci(build_image(tars), Path(name)))
        except subprocess.CalledProcessError:  # what umoci refuses may be refused, or have some harmless meaning
            with contextlib.suppress(VmsandboxError):
                merged_tars(*tars)
            return
        if any(not is_directory(theirs, path) for layer in layers for path in marked(layer)):
            return  # a whiteout makes its directory, as with containerd; umoci makes none
        assert_same(timeless(files_of_tree(merged_tars(*tars), tars)), timeless(theirs))


def marked(layer: list[Member]) -> Iterator[str]:
    """Yield the directories of a layer's whiteouts."""
    for each in layer:
        directory_of, name = os.path.split(os.path.normpath(f"/{each.name}"))
        if name.startswith(".wh."):
            yield directory_of.strip("/") or "."


def is_directory(files: dict[str, File], path: str) -> bool:
    return path in files and stat.S_ISDIR(files[path].type)


def timeless(files: dict[str, File]) -> dict[str, File]:
    """Without the times of directories: where umoci makes one that is implied, its parent's is that of the run."""
    return {name: replace(f, mtime=0) if stat.S_ISDIR(f.type) else f for name, f in files.items()}


@pytest.mark.parametrize("compression", ["", "gzip", "zstd", "skippable"])
def test_layers_of_every_compression_give_the_same_bytes_each_time(tmp_path: Path, compression: str) -> None:
    tars = [layer_tar(LOWER), layer_tar([file("large", os.urandom(300_000) + bytes(500_000))])]
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir()
    again.mkdir()
    assert build(tars, first).read_bytes() == build(tars, again, compression).read_bytes()


def test_an_image_without_layers_is_an_empty_root(tmp_path: Path) -> None:
    (name,) = built_tree([], tmp_path)
    assert name == "."


def test_a_hundred_thousand_files_are_merged(tmp_path: Path) -> None:
    empty = TreeNode(FileKind.FILE)
    archive = b"".join(member(b"d%d/f%d" % (n // 1000, n), empty) for n in range(100_000))
    image = build([archive], tmp_path, "gzip")
    listing = subprocess.run(["unsquashfs", "-l", image], check=True, capture_output=True, text=True).stdout
    assert listing.count("\n") == 100_101


@pytest.mark.parametrize(
    ("members", "limit", "error"),
    [
        ([file("zeros", bytes(30_000_000))], RootLimit(size=10_000_000), ResourceExhausted),
        ([file(f"f{n}") for n in range(2000)], RootLimit(memory=1_000_000), ResourceExhausted),
        ([file(".wh...")], RootLimit(), InvalidArgument),
        ([hard_link("a", "../../../../etc/passwd")], RootLimit(), InvalidArgument),
    ],
    ids=["bomb", "many files", "whiteout of ..", "link out of the tree"],
)
def test_a_hostile_layer_is_an_error_with_its_class_and_words(
    tmp_path: Path, members: list[Member], limit: RootLimit, error: type[VmsandboxError]
) -> None:
    with pytest.raises(error, match="layer 2 of 2") as caught:
        build([layer_tar([]), layer_tar(members)], tmp_path, "gzip", limit)
    assert type(caught.value) is error


def test_a_blob_that_is_cut_short_or_not_what_its_diff_id_says_is_refused(tmp_path: Path) -> None:
    (layer,) = layers_of([layer_tar([file("x", os.urandom(100_000))])], tmp_path, "gzip")
    whole = layer.path.read_bytes()
    with pytest.raises(Internal, match="diff_id"):
        run(make_root_image([replace(layer, diff_id="sha256:" + "0" * 64)], tmp_path / "o", RootLimit()))
    layer.path.write_bytes(whole[:50_000])
    with pytest.raises(InvalidArgument, match="cut short"):
        run(make_root_image([layer], tmp_path / "o", RootLimit()))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_full_disk_is_said(tmp_path: Path, small_disk: Path) -> None:
    layers = layers_of([layer_tar([file("x", os.urandom(3_000_000))])], tmp_path)
    with pytest.raises(ResourceExhausted, match="disk is full"):
        run(make_root_image(layers, small_disk / "o", RootLimit()))


@pytest.mark.parametrize("way", ["cancelled", "out of time"])
async def test_a_build_that_is_given_up_leaves_no_process(tmp_path: Path, way: str) -> None:
    layer = endless_layer(tmp_path)
    limit = RootLimit(size=layer.path.stat().st_size)
    before = builders()
    timeout = 0.5 if way == "out of time" else 3600
    task = asyncio.create_task(make_root_image([layer], tmp_path / "o", limit, timeout=timeout))
    if way == "cancelled":
        while builders() == before:
            await asyncio.sleep(0.01)
        task.cancel()
    with pytest.raises(asyncio.CancelledError if way == "cancelled" else DeadlineExceeded):
        await task
    while not builders() <= before:  # they are killed; the last one ends by itself
        await asyncio.sleep(0.01)


async def test_the_loop_goes_on_while_a_root_image_is_built(tmp_path: Path) -> None:
    members = [file(f"f{n}", b"x") for n in range(5_000)]
    layers = layers_of([layer_tar(members, tarfile.USTAR_FORMAT)], tmp_path)
    task = asyncio.create_task(make_root_image(layers, tmp_path / "o", RootLimit()))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.01)
        turns += 1
    await task
    assert turns > 5
