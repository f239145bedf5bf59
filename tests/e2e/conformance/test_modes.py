"""The access rights of the daemon's files on the host, and the modes of files that containers make."""

import grp
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conformance import Serving
from tests.support.conformance_client import Container, Pod
from tests.support.modes import differences, mode, readable_by_others
from vmsandbox import config
from vmsandbox.hypervisor.libvirt.one_thread import ONE_THREAD
from vmsandbox.node.modes import Place, places


@pytest.fixture
def volume() -> Iterator[Path]:
    """A directory of the host that everybody may write, containers and users of the host alike."""
    with tempfile.TemporaryDirectory(dir="/run") as parent:
        Path(parent).chmod(0o755)
        directory = Path(parent) / "volume"
        directory.mkdir()
        directory.chmod(0o777)
        yield directory


def test_all_that_the_daemon_makes_has_the_modes_of_the_table(daemon: Serving, waiting: Container) -> None:
    read = config.load(daemon.directory / "config.yaml")
    where = {**places(read), Place.LIBVIRT: (daemon.directory / "libvirt",)}
    assert differences(where) == []
    made = [path.name for path in (daemon.directory / "state/serve").rglob("*")]
    assert {"state.db", "state.db-wal", "scratch.img"} <= set(made)


def test_another_user_reads_nothing_that_the_daemon_keeps(daemon: Serving, waiting: Container) -> None:
    directories = [daemon.directory / name for name in ("run", "state", "libvirt")]
    found = readable_by_others(*directories)
    assert [path for path in found if Path(path).name != ONE_THREAD] == [], "that is a program, the same on every host"


def test_the_socket_is_for_root_and_its_group_and_its_lock_for_root(daemon: Serving, waiting: Container) -> None:
    assert (mode(daemon.directory / "cri.sock"), mode(daemon.directory / ".cri.sock.lock")) == (0o660, 0o600)


def test_a_log_is_for_root_and_the_collectors_of_its_group_in_directories_that_can_be_listed(
    waiting: Container,
) -> None:
    assert mode(waiting.log_file) == 0o640
    assert mode(waiting.log_file.parent) == 0o755


def test_files_that_containers_make_on_volumes_have_the_modes_that_they_ask_for(pod: Pod, volume: Path) -> None:
    script = "umask; touch /v/file; mkdir /v/directory; umask 027; touch /v/narrow; umask 0; mkdir /v/wide"
    ended = pod.run("sh", "-c", script, mounts=[{"container_path": "/v", "host_path": str(volume)}])
    assert ended.stdout == "0022\n"
    assert {path.name: oct(mode(path)) for path in volume.iterdir()} == {
        "file": "0o644", "directory": "0o755", "narrow": "0o640", "wide": "0o777",
    }  # fmt: skip


def as_nobody(*command: str | Path) -> str:
    """Return the output of a command, run by a user without any rights."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return subprocess.run([*nobody, *command], capture_output=True, text=True, check=True).stdout


def make_set_user_id(pod: Pod, volume: Path) -> None:
    """A container makes a program of the host, which lies in the volume, set-user-id."""
    (volume / "id").write_bytes(Path("/usr/bin/id").read_bytes())
    ended = pod.run("chmod", "4755", "/v/id", mounts=[{"container_path": "/v", "host_path": str(volume)}])
    assert ended.status.exit_code == 0


def test_set_user_id_bits_and_devices_of_a_volume_are_the_machines_in_the_pod(pod: Pod, volume: Path) -> None:
    """They work as in a container of runc, but in the guest's kernel: its users, and its devices."""
    script = "grep ' /v ' /proc/self/mountinfo; mknod /v/zero c 1 5 && head -c 3 /v/zero | wc -c"
    made = pod.run("sh", "-c", script, mounts=[{"container_path": "/v", "host_path": str(volume)}])
    assert "nosuid" not in made.stdout
    assert made.stdout.endswith("\n3\n")


def test_what_a_container_makes_set_user_id_on_a_host_path_is_so_on_the_host(pod: Pod, volume: Path) -> None:
    """Every runtime whose containers may be root has this; docs/security.md says how to prevent it."""
    make_set_user_id(pod, volume)
    assert as_nobody(volume / "id", "-u") == "0\n"


def test_a_host_path_on_a_file_system_mounted_nosuid_gives_no_rights_on_the_host(pod: Pod, volume: Path) -> None:
    """The advice of docs/security.md."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=777", "tmpfs", volume], check=True)
    try:
        make_set_user_id(pod, volume)
        assert mode(volume / "id") == 0o4755
        assert as_nobody(volume / "id", "-u") == "65534\n"
    finally:
        subprocess.run(["umount", "-l", volume], check=True)


def test_qemus_group_reads_root_images_and_nothing_else_of_the_store(daemon: Serving, waiting: Container) -> None:
    images = list((daemon.directory / "state/images/roots").glob("*.squashfs"))
    assert images
    assert {(mode(image), image.stat().st_gid) for image in images} == {(0o440, grp.getgrnam("kvm").gr_gid)}
