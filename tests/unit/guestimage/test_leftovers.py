"""Guest images of older builds: which they are, what they take, and that nothing else goes."""

import os

import pytest

from vmsandbox.errors import FailedPrecondition
from vmsandbox.guestimage.leftovers import look, remove_old
from vmsandbox.guestimage.store import locked


def image(directory, key, base, size=8192):
    """An image whose root is that of a base layer, as a build makes it."""
    layer = directory / "base" / base
    if not layer.exists():
        layer.mkdir(parents=True)
        (layer / "root.squashfs").write_bytes(os.urandom(size))
    made = directory / key
    made.mkdir()
    (made / "root.squashfs").hardlink_to(layer / "root.squashfs")
    (made / "initramfs.img").write_bytes(os.urandom(4096))
    (made / "manifest.json").write_text("{}")
    return made


@pytest.fixture
def directory(tmp_path):
    image(tmp_path, "old", "b1")
    image(tmp_path, "older", "b1")
    image(tmp_path, "new", "b2")
    (tmp_path / "current").symlink_to("new")
    return tmp_path


def test_older_images_and_their_base_are_left_over(directory):
    found = look(directory)
    assert [path.name for path in found.old_images] == ["old", "older"]
    assert [path.name for path in found.old_bases] == ["b1"]
    assert found.size > found.reclaimable >= 8192 + 2 * 4096
    remove_old(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["base", "current", "lock", "new"]
    assert [path.name for path in (directory / "base").iterdir()] == ["b2"]


def test_a_base_that_an_image_shares_stays_and_its_files_are_not_counted(directory):
    image(directory, "recent", "b2")
    found = look(directory, [directory / "new"])
    assert [path.name for path in found.old_bases] == ["b1"]
    (directory / "current").unlink()
    (directory / "current").symlink_to("recent")
    again = look(directory)
    assert [path.name for path in again.old_images] == ["new", "old", "older"]
    assert [path.name for path in again.old_bases] == ["b1"]


def test_a_compiled_kernel_stays_with_the_image_that_has_it(directory):
    for name, image_of in (("used", "b2"), ("unused", "b1")):
        kernel = directory / "kernel" / name
        kernel.mkdir(parents=True)
        (kernel / "vmlinux").write_bytes(os.urandom(4096))
        (directory / "base" / image_of / "vmlinux").hardlink_to(kernel / "vmlinux")
    (directory / "new" / "vmlinux").hardlink_to(directory / "kernel/used/vmlinux")
    remove_old(directory)
    assert [path.name for path in (directory / "kernel").iterdir()] == ["used"]


def test_an_image_that_is_configured_or_open_stays(directory):
    with (directory / "old" / "initramfs.img").open("rb"):
        assert [path.name for path in look(directory).old_images] == ["older"]
        assert [path.name for path in look(directory, [directory / "older"]).old_images] == []


def test_nothing_is_removed_while_one_is_built(directory):
    with locked(directory), pytest.raises(FailedPrecondition):
        remove_old(directory)
    assert (directory / "old").exists()


def test_a_directory_that_is_not_there_holds_nothing(tmp_path):
    found = look(tmp_path / "none")
    assert (found.images, found.size, found.reclaimable) == ((), 0, 0)
