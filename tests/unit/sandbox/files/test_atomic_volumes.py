"""Volumes of the kubelet's atomic writer, as the host reads them."""

import base64
import os
from pathlib import Path

import pytest

from tests.support.atomic_writer import make_volume, write
from vmsandbox.model import Mount, PropagationMode
from vmsandbox.protocol.messages import MAX_ENTRIES
from vmsandbox.sandbox.files.atomic_volumes import LARGEST, TooLarge, is_candidate, read_version

VOLUME = "/var/lib/kubelet/pods/1234/volumes/kubernetes.io~configmap/config"


@pytest.mark.parametrize("kind", ["configmap", "secret", "projected", "downward-api"])
def test_the_kubelets_volumes_are_candidates(kind: str) -> None:
    assert is_candidate(Mount("/etc/config", VOLUME.replace("configmap", kind), readonly=True))


@pytest.mark.parametrize(
    "mount",
    [
        Mount("/c", VOLUME),
        Mount("/c", VOLUME, readonly=True, propagation=PropagationMode.HOST_TO_CONTAINER),
        Mount("/c", f"{VOLUME}/..data/key", readonly=True),
        Mount("/c", VOLUME.replace("configmap", "empty-dir"), readonly=True),
        Mount("/c", "/var/lib/kubelet/pods/1234/volume-subpaths/config/app/0", readonly=True),
        Mount("/c", "/srv/config", readonly=True),
    ],
)
def test_others_are_not(mount: Mount) -> None:
    assert not is_candidate(mount)


def test_a_version_is_read_whole(tmp_path: Path) -> None:
    volume = make_volume(tmp_path, {"key": "value", "certs/tls.crt": b"\0\xff", "empty": ""})
    version = read_version(volume)
    assert version is not None
    assert version.name == os.readlink(volume / "..data")
    contents = {each.path: each.content and base64.b64decode(each.content) for each in version.entries}
    assert contents == {"": None, "certs": None, "certs/tls.crt": b"\0\xff", "empty": "", "key": b"value"}
    (key,) = (each for each in version.entries if each.path == "key")
    status = (volume / "key").stat()
    assert (key.mode, key.uid, key.gid, key.modified) == (0o644, status.st_uid, status.st_gid, status.st_mtime_ns)
    assert version.mode == 0o777


def test_the_next_version_has_another_name_and_content(tmp_path: Path) -> None:
    volume = make_volume(tmp_path, {"key": "one"})
    first = read_version(volume)
    write(volume, {"other": "two"})
    second = read_version(volume)
    assert first is not None and second is not None
    assert first.name != second.name
    assert [each.path for each in second.entries] == ["", "other"]


def test_parents_come_before_what_is_in_them(tmp_path: Path) -> None:
    version = read_version(make_volume(tmp_path, {"a/b/c": "", "a.b": "", "a/a": ""}))
    assert version is not None
    seen: set[str] = set()
    for entry in version.entries:
        assert entry.path == "" or entry.path.rpartition("/")[0] in seen
        seen.add(entry.path)


def test_a_directory_without_versions_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("value")
    assert read_version(tmp_path) is None


@pytest.mark.parametrize("target", ["/etc", "../..", "..", ".", "plain"])
def test_a_link_that_leads_elsewhere_is_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "..data").symlink_to(target)
    assert read_version(tmp_path) is None


def test_a_version_that_is_itself_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "..data").symlink_to("..version")
    (tmp_path / "..version").symlink_to("/etc")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        read_version(tmp_path)


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/shadow"), os.mkfifo])
def test_a_volume_with_links_and_fifos_in_it_is_not_one(tmp_path: Path, make: object) -> None:
    volume = make_volume(tmp_path, {"key": "value"})
    make(volume / "..data" / "odd")  # type: ignore[operator]
    assert read_version(volume) is None


def test_a_directory_without_end_is_not_listed_to_its_end(tmp_path: Path) -> None:
    volume = make_volume(tmp_path, {"key": "value"})
    for number in range(2 * MAX_ENTRIES):
        (volume / f"{number}").symlink_to("..data/key")
    with pytest.raises(TooLarge):
        read_version(volume)


def test_files_beside_the_links_make_it_none(tmp_path: Path) -> None:
    volume = make_volume(tmp_path, {"key": "value"})
    (volume / "plain").write_text("x")
    assert read_version(volume) is None


@pytest.mark.parametrize(
    "files",
    [
        {"large": bytes(LARGEST + 1)},
        {f"{number}": bytes(LARGEST // 4) for number in range(5)},
        {f"{number}": b"" for number in range(MAX_ENTRIES)},
        {f"{number}": b"x" for number in range(LARGEST // 4096)},
        {"d/" * 20 + "f": b""},
    ],
    ids=["one large file", "several", "many", "many pages", "deep"],
)
def test_what_is_too_large_is_said_to_be(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(TooLarge):
        read_version(make_volume(tmp_path, files))
