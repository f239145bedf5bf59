"""A guest's root at the share: it can use its volumes, and nothing else of the host's directory is its to write."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conformance_client import Container, Pod

PRIVILEGED = {"privileged": True}
SHARE = "mkdir /s && mount -t virtiofs vmsandbox /s"

ATTACKS = {
    "fills the top": "dd if=/dev/zero of=/s/full bs=1M count=1",
    "nests directories at the top": "mkdir /s/d",
    "puts a FIFO at the top": "mkfifo /s/fifo",
    "puts a link at the top": "ln -s /etc /s/link",
    "moves a volume's place away": "mv /s/$1 /s/b",
    "changes the mode of the top": "chmod 777 /s",
    "changes the owner of the top": "chown 1000 /s",
    "changes the times of the top": "touch /s",
    "makes a device at the top": "mknod /s/null c 1 3",
    "mounts the share writable": "mount -o remount,rw /s && echo > /s/file",
}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("volume")


@pytest.fixture(scope="module")
def attacker(privileged_pod: Pod, volume: Path) -> Iterator[Container]:
    """A privileged container with a volume; the test's last act is that it can be removed."""
    mount = {"host_path": str(volume), "container_path": "/mnt"}
    container = privileged_pod.start(mounts=[mount], security=PRIVILEGED)
    container.output("sh", "-c", SHARE)
    yield container
    container.remove()


@pytest.fixture(scope="module")
def place(attacker: Container) -> str:
    """Return the place of the volume below the share."""
    return attacker.output("ls", "/s").strip()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_guest_changes_nothing_at_the_top_of_the_share(attacker: Container, place: str, attack: str) -> None:
    before = attacker.output("ls", "-lnR", "/s")
    answer = attacker.exec("sh", "-c", attack, "sh", place)
    assert answer.exit_code != 0
    assert "Read-only file system" in answer.stderr.decode()
    assert attacker.output("ls", "-lnR", "/s") == before


def test_a_volume_below_the_top_stays_writable(attacker: Container, place: str, volume: Path) -> None:
    attacker.output("sh", "-c", f"echo by the share > /s/{place}/a; echo by the mount > /mnt/b")
    assert {path.name: path.read_text() for path in volume.iterdir()} == {"a": "by the share\n", "b": "by the mount\n"}


def test_a_place_in_use_is_not_removed(attacker: Container, place: str) -> None:
    assert attacker.exec("rmdir", f"/s/{place}").exit_code != 0
    assert attacker.output("ls", "/s") == f"{place}\n"


def test_a_volume_of_a_container_that_comes_later_appears(
    attacker: Container, place: str, privileged_pod: Pod, tmp_path: Path
) -> None:
    later = privileged_pod.start(mounts=[{"host_path": str(tmp_path), "container_path": "/mnt", "readonly": True}])
    (new,) = {*attacker.output("ls", "/s").split()} - {place}
    assert b"Read-only" in attacker.exec("sh", "-c", f"echo > /s/{new}/file").stderr
    later.remove()
    assert attacker.output("ls", "/s") == f"{place}\n"
