"""Volumes are mounted where virtiofsd sees them, and the host does not; each source is there once."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.binding import Listing, bound, inside, key, mount_at, share_served
from vmsandbox.errors import FailedPrecondition
from vmsandbox.sandbox.files import mountinfo, mounts
from vmsandbox.sandbox.files.directories import SandboxDirectories
from vmsandbox.sandbox.files.host_volume import looked_at
from vmsandbox.sandbox.files.share_server import server_of
from vmsandbox.sandbox.files.shared_volumes import SharedVolumes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")

READ_ONLY = mounts.MountAccess(readonly=True)
FOLLOWS = mounts.MountAccess(follows=True)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[SandboxDirectories]:
    layout = SandboxDirectories(tmp_path / "runtime", tmp_path / "persistent")
    layout.make()
    yield layout
    asyncio.run(layout.remove())
    assert not layout.runtime.exists()


@pytest.fixture
def listing(layout: SandboxDirectories) -> Iterator[Listing]:
    with share_served(layout) as listing:
        yield listing


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """A directory with a file, and a tmpfs with another file mounted in it."""
    inner = tmp_path / "source" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "source" / "file").touch()
    (tmp_path / "source/a/b").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
    (inner / "deep").touch()
    yield tmp_path / "source"
    subprocess.run(["umount", "-l", inner], check=False, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def bind_mount(source: Path, target: Path) -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", "-R", "-l", target], check=True)


def test_a_volume_is_seen_by_virtiofsd_and_not_by_the_host(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    place = bound(layout, source).place
    assert listing(place) == ["a", "file", "inner"]
    assert listing(place / "inner") == ["deep"]
    assert list((layout.served / place).iterdir()) == []
    assert mountinfo.mounts_below(layout.served / place) == []


def test_what_a_volume_holds_can_be_removed_on_the_host(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    place = bound(layout, source).place
    subprocess.run(["umount", source / "inner"], check=True)
    (source / "inner").rmdir()
    assert listing(place) == ["a", "file"]


def test_a_volume_goes_with_the_last_container_that_has_it(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    place = bound(layout, source, "c").place
    assert bound(layout, source, "d").place == place
    SharedVolumes(layout).release("c")
    assert listing(place / "inner") == ["deep"]
    SharedVolumes(layout).release("d")
    SharedVolumes(layout).release("d")
    assert listing("") == []
    assert not list(layout.uses.iterdir())
    assert (source / "file").exists()
    assert (source / "inner" / "deep").exists()


def test_a_volume_that_is_one_file_is_seen_too(layout: SandboxDirectories, listing: Listing, source: Path) -> None:
    place = bound(layout, source / "file").place
    assert listing("") == [str(place)]
    SharedVolumes(layout).release("c")
    assert listing("") == []
    assert (source / "file").exists()


def test_a_part_of_a_volume_is_used_from_where_the_volume_is(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    whole = bound(layout, source).place
    assert bound(layout, source / "a/b", "d").place == whole / "a/b"
    assert bound(layout, source / "file", "d").place == whole / "file"
    assert bound(layout, source / "inner", "d").place == whole / "inner"
    assert bound(layout, source / "inner/deep", "d").place == whole / "inner/deep"
    assert listing("") == [str(whole)]


def test_a_bind_mount_of_the_host_is_what_it_shows(
    layout: SandboxDirectories, listing: Listing, source: Path, tmp_path: Path
) -> None:
    whole = bound(layout, source).place
    with bind_mount(source / "a", tmp_path / "sub-path") as part:
        assert bound(layout, part, "d").place == whole / "a"
        assert bound(layout, part / "b", "d").place == whole / "a/b"


def test_a_bind_mount_of_the_host_that_comes_first_is_taken_in_as_what_it_shows(
    layout: SandboxDirectories, listing: Listing, source: Path, tmp_path: Path
) -> None:
    with bind_mount(source / "a", tmp_path / "sub-path") as part:
        alone = bound(layout, part).place
        assert listing(alone) == ["b"]
        before = key(layout, alone)
        whole = bound(layout, source, "d").place
        assert key(layout, whole / "a") == before
        assert bound(layout, part, "e").place == whole / "a"


def test_a_volume_that_comes_later_takes_its_parts_in_and_they_stay_what_they_were(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    parts = [source / "a/b", source / "file", source / "inner"]
    before = [key(layout, bound(layout, part, f"c{number}").place) for number, part in enumerate(parts)]
    whole = bound(layout, source, "d").place
    assert listing("") == [str(whole)]
    assert [key(layout, whole / part.relative_to(source)) for part in parts] == before
    assert [bound(layout, part, "e").place for part in parts] == [whole / part.relative_to(source) for part in parts]
    SharedVolumes(layout).release("d")
    SharedVolumes(layout).release("e")
    assert [key(layout, whole / part.relative_to(source)) for part in parts] == before
    for number in range(len(parts)):
        assert listing("") == [str(whole)]
        SharedVolumes(layout).release(f"c{number}")
    assert listing("") == []


def test_what_was_renamed_or_replaced_on_the_host_is_not_taken_for_what_it_was(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    old = bound(layout, source / "a").place
    (source / "a").rename(source / "moved")
    (source / "a").mkdir()
    (source / "a/new").touch()
    assert listing(bound(layout, source / "a", "d").place) == ["new"]
    assert bound(layout, source / "moved", "d").place == old
    file = bound(layout, source / "file", "e").place
    (source / "file").rename(source / "old")
    (source / "file").touch()
    assert bound(layout, source / "file", "f").place != file
    assert bound(layout, source / "old", "f").place == file


def test_a_directory_that_something_is_mounted_on_is_not_what_is_mounted(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    whole = bound(layout, source).place
    subprocess.run(["mount", "-t", "tmpfs", "none", source / "a"], check=True)
    try:
        (source / "a/over").touch()
        assert listing(bound(layout, source / "a", "d").place) == ["over"]
        assert listing(whole / "a") == ["b"]
    finally:
        subprocess.run(["umount", source / "a"], check=True)


def test_what_the_host_has_mounted_meanwhile_is_there_for_later_containers(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    whole = bound(layout, source).place
    subprocess.run(["mount", "-t", "tmpfs", "none", source / "a"], check=True)
    try:
        (source / "a/later").touch()
        alone = bound(layout, source / "a", "d").place
        before = key(layout, alone)
        assert bound(layout, source, "e").place == whole
        assert listing(whole / "a") == ["later"]
        assert key(layout, whole / "a") == before
    finally:
        subprocess.run(["umount", "-l", source / "a"], check=True)


def test_a_place_is_writable_as_soon_as_one_may_write_there_and_not_before(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    reader = bound(layout, source, "c", READ_ONLY)
    assert reader.readonly
    with inside(layout, reader.place) as path, pytest.raises(OSError, match="Read-only"):
        (path / "new").touch()
    writer = bound(layout, source / "a", "d")
    assert not writer.readonly
    with inside(layout, writer.place) as path:
        (path / "new").touch()


def test_what_one_container_writes_in_what_it_only_reads_leaves_the_rest_read_only_on_the_host(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    whole = bound(layout, source, "c", READ_ONLY).place
    assert bound(layout, source / "a", "c").place == whole / "a"
    assert bound(layout, source / "a", "d").place == whole / "a"
    with inside(layout, whole) as path:
        (path / "a/new").touch()
        with pytest.raises(OSError, match="Read-only"):
            (path / "new").touch()
    assert key(layout, whole / "a") == key(layout, bound(layout, source / "a", "d").place)


def test_a_volume_that_comes_later_to_be_written_has_its_read_only_parts_writable(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    bound(layout, source / "a", "c", READ_ONLY)
    bound(layout, source / "inner", "c", mounts.MountAccess(readonly=True, recursive=True))
    whole = bound(layout, source, "d").place
    for part in ("a", "inner"):
        with inside(layout, whole / part) as path:
            (path / "new").touch()


def test_what_the_host_has_read_only_stays_so(
    layout: SandboxDirectories, listing: Listing, source: Path, tmp_path: Path
) -> None:
    with bind_mount(source, tmp_path / "bound") as other:
        subprocess.run(["mount", "-o", "remount,bind,ro", other], check=True)
        first = bound(layout, other)
        assert first.readonly
        assert mount_at(layout, first.place).readonly
        second = bound(layout, source, "d")
        assert (second.place, second.readonly) == (first.place, False)
        assert not mount_at(layout, first.place).readonly
        assert bound(layout, other, "e").readonly


def test_what_is_mounted_below_a_read_only_volume_is_named_where_it_is_not(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    assert [str(path) for path in bound(layout, source, "c", READ_ONLY).writable] == ["inner"]
    assert bound(layout, source, "c").writable == ()
    assert bound(layout, source, "c", mounts.MountAccess(readonly=True, recursive=True)).writable == ()


def test_owners_that_are_mapped_differently_are_places_of_their_own(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    plain = bound(layout, source).place
    mapped = bound(layout, source, "d", mapping="0123").place
    assert mapped != plain
    assert bound(layout, source / "a", "e", mapping="0123").place == mapped / "a"
    assert bound(layout, source / "a", "e").place == plain / "a"


def test_an_agent_that_follows_links_gets_no_place_below_another_volume(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    whole = bound(layout, source).place
    assert bound(layout, source, "d", deep=False).place == whole
    assert len(bound(layout, source / "a", "d", deep=False).place.parts) == 1


def test_the_places_of_an_older_version_are_left_alone(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    container = "5" * 32
    old = layout.share / container / "0"
    old.mkdir(parents=True)
    with server_of(layout.share, layout.served) as server, looked_at(source) as volume:
        target = server.open(Path("/") / old.relative_to(layout.share))
        server.within(lambda: mounts.calls.move(volume.tree.fd, target, "it"))
    place = bound(layout, source).place
    assert len(place.parts) == 1
    SharedVolumes(layout).release(container)
    assert listing(old.relative_to(layout.share)) == ["a", "file", "inner"]
    asyncio.run(layout.remove_volumes(container))
    assert listing("") == [str(place)]


def test_what_a_killed_process_has_noted_and_not_made_costs_nothing(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    (layout.uses / "0000").mkdir(parents=True)
    (layout.uses / "0000" / "c").touch()
    (layout.uses / "0001").mkdir(parents=True)
    (layout.uses / "0001" / "c").touch()
    (layout.share / "0001").mkdir()
    place = bound(layout, source).place
    assert listing(place) == ["a", "file", "inner"]
    SharedVolumes(layout).release("c")
    assert listing("") == []
    assert not list(layout.uses.iterdir())


@pytest.mark.parametrize("first", [FOLLOWS, mounts.MountAccess()], ids=["from the start", "once asked for"])
def test_a_volume_follows_what_is_mounted_on_the_host_later(
    layout: SandboxDirectories, listing: Listing, source: Path, first: mounts.MountAccess
) -> None:
    with bind_mount(source, source):
        subprocess.run(["mount", "--make-shared", source], check=True)
        part = bound(layout, source / "a", "c", first).place
        place = bound(layout, source, "d", FOLLOWS).place
        for later in (source / "a/b", source / "later"):
            later.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "none", later], check=True)
            (later / "seen").touch()
            assert listing(place / later.relative_to(source)) == ["seen"]
            subprocess.run(["umount", later], check=True)
            assert listing(place / later.relative_to(source)) == []
        assert part != place


def test_what_is_private_does_not_follow_and_nothing_goes_to_the_host(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    with bind_mount(source, source):
        subprocess.run(["mount", "--make-shared", source], check=True)
        place = bound(layout, source).place
        subprocess.run(["mount", "-t", "tmpfs", "none", source / "a"], check=True)
        assert listing(place / "a") == ["b"]
        bound(layout, source / "a", "d")
        bound(layout, source, "e")
        assert len(mountinfo.mounts_below(source / "a")) == 1


def test_a_part_that_was_moved_away_is_found_where_it_is_and_a_link_in_its_place_is_not_followed(
    layout: SandboxDirectories, listing: Listing, source: Path
) -> None:
    part = key(layout, bound(layout, source / "a/b").place)
    (source / "a").rename(source / "kept")
    (source / "a").symlink_to("kept")
    whole = bound(layout, source, "d").place
    assert listing("") == [str(whole)]
    assert key(layout, whole / "kept/b") == part
    for link in ("a", "a/b"):
        with pytest.raises(OSError, match="symbolic links"):
            key(layout, whole / link)


def test_without_virtiofsd_there_are_no_volumes(layout: SandboxDirectories, source: Path) -> None:
    with pytest.raises(FailedPrecondition, match="no virtiofsd serves"):
        bound(layout, source)


def test_the_process_itself_stays_where_it_was(layout: SandboxDirectories, listing: Listing, source: Path) -> None:
    before = os.stat("/proc/self/ns/mnt").st_ino, os.stat("/").st_ino
    bound(layout, source)
    assert (os.stat("/proc/self/ns/mnt").st_ino, os.stat("/").st_ino) == before


def test_a_machine_of_a_version_whose_guests_wrote_in_the_share_takes_no_more_volumes(
    layout: SandboxDirectories, source: Path
) -> None:
    mounts.unmount_below(layout.served)
    layout.served.rmdir()
    with pytest.raises(FailedPrecondition, match="an older version of vmsandbox"):
        bound(layout, source)
    assert not list(layout.share.iterdir())
