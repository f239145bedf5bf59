"""Which mount has a source in it: answers of the kernel's own kind, for trees of mounts that hypothesis makes up."""

from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.sandbox.files.mountinfo import MountPoint, carried
from vmsandbox.sandbox.files.origins import Origin, belonging_below, origin_of, places_of, root_of

NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, max_size=4).map(lambda names: PurePosixPath("/", *names))
DEVICES = st.sampled_from(["8:1", "0:31"])
ORIGINS = st.builds(Origin, DEVICES, PATHS)
SERVED = st.lists(
    st.builds(
        lambda name, below, device, root: MountPoint(Path("/", name, *below), str(root), device=device),
        st.sampled_from(["1", "2", "3"]),
        st.lists(NAMES, max_size=2),
        DEVICES,
        PATHS,
    ),
    max_size=6,
)


def shown(place: PurePosixPath, mount: MountPoint) -> Origin:
    """Return the path in the file system that a mount shows at a place below it."""
    return Origin(mount.device, PurePosixPath(mount.root) / place.relative_to(mount.path))


@given(ORIGINS, SERVED)
def test_a_place_shows_the_source_by_one_of_the_mounts(origin: Origin, served: list[MountPoint]) -> None:
    for place in places_of(origin, served):
        assert any(place.is_relative_to(mount.path) and shown(place, mount) == origin for mount in served)


@given(SERVED, st.lists(NAMES, max_size=3), st.data())
def test_whatever_is_at_or_below_the_root_of_a_mount_has_a_place(
    served: list[MountPoint], names: list[str], data: st.DataObject
) -> None:
    if served:
        mount = data.draw(st.sampled_from(served))
        place = mount.path.joinpath(*names)
        assert place in places_of(shown(place, mount), served)


@given(ORIGINS, SERVED)
def test_the_answer_does_not_depend_on_the_order_of_the_mounts(origin: Origin, served: list[MountPoint]) -> None:
    assert places_of(origin, served) == places_of(origin, served[::-1])


@given(ORIGINS, SERVED)
def test_what_is_mounted_already_belongs_below_a_volume_exactly_where_the_volume_would_have_it(
    volume: Origin, served: list[MountPoint]
) -> None:
    """A mount that has the volume at its root would have the same places."""
    whole = MountPoint(Path("/whole"), str(volume.path), device=volume.device)
    found = dict(belonging_below([(PurePosixPath(), volume)], served))
    for mount in served:
        expected = [place.relative_to("/whole") for place in places_of(root_of(mount), [whole]) if place != whole.path]
        assert [Path(path) for path in found.get(mount, [])] == expected


def test_what_is_mounted_below_a_volume_counts() -> None:
    tree = [
        (PurePosixPath(), Origin("8:1", PurePosixPath("/v"))),
        (PurePosixPath("x"), Origin("0:9", PurePosixPath("/"))),
    ]
    tops = [MountPoint(Path("/1"), "/", device="0:9"), MountPoint(Path("/2"), "/d", device="0:9")]
    assert [inner for _, inner in belonging_below(tree, tops)] == [[PurePosixPath("x")], [PurePosixPath("x/d")]]


def test_the_origin_of_a_bind_mount_is_what_it_shows() -> None:
    bind = MountPoint(Path("/kubelet/sub/0"), "/var/volume/part", device="8:1")
    assert origin_of(Path("/kubelet/sub/0/x"), bind) == Origin("8:1", PurePosixPath("/var/volume/part/x"))
    assert origin_of(Path("/elsewhere"), bind) is None


def test_a_tree_carries_what_is_mounted_on_it_and_on_that_and_nothing_else() -> None:
    top = MountPoint(Path("/"), id=1)
    below = MountPoint(Path("/v/a"), id=2, parent=1)
    deeper = MountPoint(Path("/v/a/b"), id=3, parent=2)
    beside = MountPoint(Path("/w"), id=4, parent=1)
    hidden = MountPoint(Path("/v/a/c"), id=5, parent=9)
    at_it = MountPoint(Path("/v"), id=6, parent=1)
    assert carried([deeper, below, beside, hidden, at_it], top, Path("/v")) == [below, deeper]
