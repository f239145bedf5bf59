"""Merging layers, by what the OCI image-spec says of changesets; tests/e2e compares the same with umoci."""

import time

import pytest

from tests.support.layers import Member, directory, file, hard_link, merged, names, opaque, symlink, whiteout
from vmsandbox.errors import ResourceExhausted
from vmsandbox.images.oci.documents import Malformed
from vmsandbox.images.rootfs.layers import FILE_MEMORY, RootLimit
from vmsandbox.images.rootfs.tar.entry import FileKind
from vmsandbox.images.rootfs.tree.node import TreeNode
from vmsandbox.images.rootfs.tree.tree import FileTree


def node(tree: FileTree, name: str) -> TreeNode:
    found = tree.find(name.encode())
    assert found is not None, name
    return found


def test_an_upper_layers_file_replaces_a_lower_ones() -> None:
    tree = merged([file("a", b"low", mode=0o600)], [file("a", b"upper", mode=0o755)])
    assert (node(tree, "a").mode, node(tree, "a").layer) == (0o755, 1)
    content = node(tree, "a").content
    assert content and content.size == 5


def test_a_directory_that_is_in_both_layers_keeps_its_files_and_takes_the_upper_attributes() -> None:
    tree = merged([directory("d", 0o700), file("d/low")], [directory("d", 0o711, uid=5), file("d/up")])
    assert names(tree) == ["d", "d/low", "d/up"]
    assert (node(tree, "d").mode, node(tree, "d").uid) == (0o711, 5)


def test_a_whiteout_removes_a_file_of_a_lower_layer() -> None:
    assert names(merged([file("a"), file("b")], [whiteout("a")])) == ["b"]


def test_a_whiteout_removes_a_directory_with_all_in_it() -> None:
    assert names(merged([directory("d"), directory("d/e"), file("d/e/f")], [whiteout("d")])) == []


@pytest.mark.parametrize("order", [1, -1], ids=["whiteout last", "whiteout first"])
def test_a_whiteout_leaves_what_its_own_layer_has(order: int) -> None:
    upper = [file("a", b"new"), whiteout("a")]
    tree = merged([file("a", b"old")], upper[::order])
    assert node(tree, "a").layer == 1


@pytest.mark.parametrize("order", [1, -1], ids=["whiteout last", "whiteout first"])
def test_a_whiteout_of_a_directory_that_its_own_layer_has_removes_only_the_lower_files(order: int) -> None:
    upper = [[directory("d"), file("d/new")], [whiteout("d")]][::order]
    tree = merged(
        [directory("d"), directory("d/sub"), file("d/sub/x"), file("d/old")], [m for each in upper for m in each]
    )
    assert names(tree) == ["d", "d/new"]


def test_a_whiteout_of_nothing_does_nothing_but_imply_its_directory() -> None:
    assert names(merged([file("a")], [whiteout("b"), whiteout("no/such"), opaque("nothing")])) == ["a", "no", "nothing"]


@pytest.mark.parametrize("order", [1, -1], ids=["opaque last", "opaque first"])
def test_an_opaque_directory_hides_what_lower_layers_have_in_it(order: int) -> None:
    lower = [directory("d"), file("d/old"), directory("d/sub"), file("d/sub/old")]
    upper = [[directory("d"), file("d/new"), directory("d/sub"), file("d/sub/new")], [opaque("d")]][::order]
    tree = merged(lower, [member for each in upper for member in each])
    assert names(tree) == ["d", "d/new", "d/sub", "d/sub/new"]


def test_an_opaque_root_hides_everything_below() -> None:
    assert names(merged([file("a"), file("b")], [file("c"), file(".wh..wh..opq")])) == ["c"]


def test_what_a_whiteout_removed_can_come_back_in_a_higher_layer() -> None:
    tree = merged(
        [directory("d"), file("d/x")], [whiteout("d")], [file("d", b"file")], [whiteout("d")], [directory("d")]
    )
    assert names(tree) == ["d"]
    assert node(tree, "d").kind is FileKind.DIRECTORY


def test_a_directory_is_replaced_by_a_file_and_back() -> None:
    lower = [directory("x"), file("x/inside")]
    assert names(merged(lower, [file("x")])) == ["x"]
    back = merged(lower, [file("x")], [directory("x", 0o700), file("x/again")])
    assert names(back) == ["x", "x/again"]
    assert node(back, "x").mode == 0o700


def test_a_file_makes_way_for_the_directory_that_a_deeper_name_implies() -> None:
    tree = merged([file("x")], [file("x/y")])
    assert names(tree) == ["x", "x/y"]
    assert (node(tree, "x").kind, node(tree, "x").mode, node(tree, "x").mtime) == (FileKind.DIRECTORY, 0o755, 0)


def test_a_symbolic_link_of_the_same_layer_in_a_names_directory_is_followed_within_the_tree() -> None:
    lower = [directory("usr"), directory("usr/bin")]
    links = [symlink("bin", "usr/bin"), symlink("abs", "/usr/bin")]
    tree = merged(lower, [*links, file("bin/one"), file("abs/two"), whiteout("bin/gone")])
    assert names(tree) == ["abs", "bin", "usr", "usr/bin", "usr/bin/one", "usr/bin/two"]
    assert node(tree, "bin").kind is FileKind.SYMLINK


def test_a_symbolic_link_of_a_lower_layer_makes_way_for_a_directory_like_that_it_leads_to() -> None:
    lower = [directory("d", 0o750, uid=3), file("d/x"), symlink("l", "d"), symlink("dangling", "no")]
    tree = merged(lower, [file("l/y"), file("dangling/z")])
    assert names(tree) == ["d", "d/x", "dangling", "dangling/z", "l", "l/y"]
    assert (node(tree, "l").mode, node(tree, "l").uid) == (0o750, 3)
    assert (node(tree, "dangling").mode, node(tree, "dangling").uid) == (0o755, 0)


def test_a_whiteout_removes_nothing_through_a_symbolic_link_of_a_lower_layer() -> None:
    lower = [directory("d"), file("d/x"), symlink("l", "d")]
    assert names(merged(lower, [whiteout("l/x")])) == ["d", "d/x", "l"]
    assert names(merged(lower, [opaque("l")])) == ["d", "d/x", "l"]
    assert names(merged(lower, [whiteout("l")])) == ["d", "d/x"]


def test_a_dangling_symbolic_link_in_a_names_directory_makes_what_it_points_to() -> None:
    tree = merged([symlink("data", "var/data"), file("data/x")])
    assert names(tree) == ["data", "var", "var/data", "var/data/x"]


def test_a_directory_replaces_a_symbolic_link() -> None:
    tree = merged([directory("d"), file("d/x"), symlink("l", "d")], [directory("l"), file("l/y")])
    assert names(tree) == ["d", "d/x", "l", "l/y"]


@pytest.mark.parametrize("target", ["../../../..", "/../..", "/"])
def test_links_that_lead_out_of_the_tree_stay_at_its_root(target: str) -> None:
    assert names(merged([symlink("out", target), file("out/etc/passwd")])) == ["etc", "etc/passwd", "out"]


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", "./etc/./x", "etc//x", "a/../etc/x", "/../etc/x"])
def test_names_that_lead_out_of_the_tree_are_taken_from_its_root(name: str) -> None:
    assert names(merged([file(name)])) == ["etc", "etc/x"]


def test_symbolic_links_in_a_circle_are_refused() -> None:
    with pytest.raises(Malformed, match="too many symbolic links"):
        merged([symlink("a", "b"), symlink("b", "a"), file("a/x")])


def test_hard_links_are_names_of_one_node() -> None:
    tree = merged([file("a", b"1"), hard_link("b", "a"), hard_link("c", "./b"), hard_link("/d", "/c")])
    assert len({id(each) for _, each in tree.walk()}) == 1
    assert names(tree) == ["a", "b", "c", "d"]


def test_a_hard_link_to_a_lower_layers_file_outlives_its_replacement_there() -> None:
    tree = merged([file("a", b"old")], [hard_link("b", "a"), file("a", b"newer")])
    assert node(tree, "a") is not node(tree, "b")
    assert (node(tree, "a").layer, node(tree, "b").layer) == (1, 0)


def test_a_hard_link_outlives_the_whiteout_of_its_target() -> None:
    assert names(merged([file("a", b"1"), hard_link("b", "a")], [whiteout("a")])) == ["b"]


def test_a_hard_link_through_a_symbolic_link_and_to_one() -> None:
    tree = merged([directory("d"), file("d/x"), symlink("l", "d"), hard_link("y", "l/x"), hard_link("k", "l")])
    assert node(tree, "y") is node(tree, "d/x")
    assert node(tree, "k") is node(tree, "l")


def test_a_hard_link_does_not_change_its_targets_attributes() -> None:
    link = hard_link("b", "a")
    assert node(merged([file("a", mode=0o600), link]), "a").mode == 0o600


def test_a_hard_link_to_itself_changes_nothing() -> None:
    assert names(merged([file("a", b"1")], [hard_link("a", "a")])) == ["a"]


@pytest.mark.parametrize("target", ["missing", "d", "/", "..", "", "gone"])
def test_a_hard_link_to_nothing_or_to_a_directory_is_refused(target: str) -> None:
    with pytest.raises(Malformed, match="hard link"):
        merged([directory("d"), file("gone")], [whiteout("gone"), hard_link("h", target)])


@pytest.mark.parametrize(
    "member", [directory("./", 0o700, uid=1), file("."), symlink("/", "etc"), hard_link("..", "a")]
)
def test_a_layer_does_not_change_the_root(member: Member) -> None:
    tree = merged([file("a"), member], [member])
    assert names(tree) == ["a"]
    assert (tree.root.kind, tree.root.mode, tree.root.uid) == (FileKind.DIRECTORY, 0o755, 0)


@pytest.mark.parametrize("name", [".wh..", ".wh...", ".wh.", "d/.wh..."])
def test_a_whiteout_of_no_name_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="whiteout"):
        merged([directory("d"), file("d/x")], [file(name)])


def test_what_aufs_keeps_for_itself_is_not_a_file_but_may_be_a_hard_links_target() -> None:
    aufs = [file(".wh..wh.aufs"), directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", b"shared", uid=3)]
    tree = merged([*aufs, file("a"), hard_link("b", "/.wh..wh.plnk/1.2"), hard_link("c", ".wh..wh.plnk/1.2")])
    assert names(tree) == ["a", "b", "c"]
    assert node(tree, "b") is node(tree, "c")
    assert node(tree, "b").uid == 3


def test_what_aufs_keeps_in_one_layer_is_not_a_target_in_another() -> None:
    with pytest.raises(Malformed, match="hard link"):
        merged([file(".wh..wh.plnk/1.2")], [hard_link("a", ".wh..wh.plnk/1.2")])


@pytest.mark.parametrize("name", ["n" * 256, f"{'n' * 256}/x", "/".join(["d" * 200] * 21)])
def test_a_name_that_linux_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="longer"):
        merged([file(name)])


def test_the_longest_name_that_linux_can_have_is_kept() -> None:
    assert "n" * 255 in names(merged([file("n" * 255)]))


def test_attributes_by_which_overlayfs_would_take_a_file_for_something_else_do_not_get_in() -> None:
    xattrs = {
        "user.kept": b"1", "security.capability": b"\x01\0\n=", "trusted.kept": b"", "trusted.overlay.opaque": b"y",
        "trusted.overlay.redirect": b"/etc", "security.selinux": b"x", "system.posix_acl_access": b"x", "odd": b"x",
    }  # fmt: skip
    tree = merged([file("a", xattrs=xattrs)])
    assert dict(node(tree, "a").xattrs) == {
        b"user.kept": b"1",
        b"security.capability": b"\x01\0\n=",
        b"trusted.kept": b"",
    }


def test_an_upper_layers_attributes_replace_a_lower_ones() -> None:
    tree = merged([directory("d", xattrs={"user.low": b"1"})], [directory("d", xattrs={"user.up": b"2"})])
    assert node(tree, "d").xattrs == ((b"user.up", b"2"),)


def test_only_files_and_directories_have_user_attributes() -> None:
    fifo = file("p", type=b"6", xattrs={"user.x": b"1", "trusted.x": b"2"})
    assert node(merged([fifo]), "p").xattrs == ((b"trusted.x", b"2"),)


def test_attributes_larger_than_a_root_image_can_hold_are_refused() -> None:
    with pytest.raises(Malformed, match="extended attributes"):
        merged([file("a", xattrs={"user.large": b"x" * 50_000})])


def test_more_entries_than_allowed_are_refused_in_all_layers_together() -> None:
    layers = [[file(f"{layer}-{n}") for n in range(10)] for layer in range(3)]
    assert len(names(merged(*layers, limit=RootLimit(memory=30 * 800)))) == 30
    with pytest.raises(ResourceExhausted, match=str(29 * FILE_MEMORY)):
        merged(*layers, limit=RootLimit(memory=29 * FILE_MEMORY))


def test_implied_directories_count_as_files() -> None:
    with pytest.raises(ResourceExhausted):
        merged([file("a/b/c/d/e")], limit=RootLimit(memory=5 * FILE_MEMORY))


def test_large_attributes_count() -> None:
    layer = [file(f"f{n}", xattrs={"user.x": b"x" * 40_000}) for n in range(10)]
    with pytest.raises(ResourceExhausted):
        merged(layer, limit=RootLimit(memory=200 * FILE_MEMORY))


def test_whiteouts_that_are_repeated_cost_nothing_more() -> None:
    files = [file(f"d/f{n}") for n in range(20_000)]
    upper = [directory("d"), *files, *([opaque("d"), whiteout("d")] * 10_000)]
    started = time.monotonic()
    assert len(names(merged([directory("d"), file("d/low")], upper))) == 20_001
    assert time.monotonic() - started < 60, "each looks at all files again"


def test_an_error_names_the_layer() -> None:
    with pytest.raises(Malformed, match="layer 2 of 2"):
        merged([file("a")], [hard_link("b", "missing")])
