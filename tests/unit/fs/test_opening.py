"""Whatever lies where a file is expected is an error that says what it is, and never waited for, followed or used."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from vmsandbox import config
from vmsandbox.config import BridgeConfig
from vmsandbox.errors import FailedPrecondition, Internal, InvalidArgument, VmsandboxError
from vmsandbox.fs.opening import open_or_make, open_regular, read_regular
from vmsandbox.images.oci.documents import digest_of
from vmsandbox.images.oci.manifest import Descriptor
from vmsandbox.images.skopeo.credentials import authfile
from vmsandbox.images.store.blobs import Blobs
from vmsandbox.model import ContainerSecurity, SecurityProfile
from vmsandbox.network import config as network_config
from vmsandbox.network.attachment_store import AttachmentStore
from vmsandbox.sandbox.spec import seccomp
from vmsandbox.sandbox.streams.log_reader import follow_log
from vmsandbox.sandbox.streams.logs import ContainerLog

pytestmark = pytest.mark.timeout(60)


KINDS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a directory": Path.mkdir,
    "a socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "a device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),  # /dev/zero
}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="device nodes are root's to make")
every_kind = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=needs_root if kind == "a device" else ()) for kind in KINDS]
)
never_a_file = pytest.mark.parametrize("kind", ["a FIFO", "a directory"])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "place"


@every_kind
def test_what_is_not_a_regular_file_is_not_opened(place: Path, kind: str) -> None:
    KINDS[kind](place)
    with pytest.raises(OSError, match=f"it is {kind}, not a regular file"):
        open_regular(place)
    with pytest.raises(OSError, match=f"it is {kind}, not a regular file"):
        open_or_make(place, os.O_WRONLY, 0o600)


def test_a_link_is_followed_where_it_is_the_administrators(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    place.symlink_to(tmp_path / "file")
    assert read_regular(place, 100, follow=True) == b"content"
    (tmp_path / "file").unlink()
    os.mkfifo(tmp_path / "file")
    with pytest.raises(OSError, match="a FIFO"):
        read_regular(place, 100, follow=True)


def test_a_file_larger_than_it_may_be_is_an_error(place: Path) -> None:
    place.write_bytes(b"12345")
    assert read_regular(place, 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_regular(place, 4)


def test_a_file_is_made_with_exactly_its_mode(place: Path) -> None:
    before = os.umask(0o077)
    try:
        os.close(open_or_make(place, os.O_WRONLY, 0o640))
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == 0o640


@every_kind
def test_a_log_is_not_opened_there(place: Path, kind: str) -> None:
    place.mkdir()
    KINDS[kind](place / "0.log")
    with pytest.raises(InvalidArgument, match="cannot be opened"):
        ContainerLog(place / "0.log", place / "position")
    assert kind == "a directory" or stat.S_IFMT((place / "0.log").lstat().st_mode) != stat.S_IFREG


def test_a_log_whose_directory_became_a_link_is_not_opened(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to("elsewhere")
    with pytest.raises(InvalidArgument, match="cannot be opened"):
        ContainerLog(place / "0.log", tmp_path / "position")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    """A directory like /var/log/pods, which an administrator has moved to another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "pods").symlink_to("disk")
    (tmp_path / "elsewhere/app").mkdir(parents=True)
    return tmp_path / "pods"


every_log_directory = pytest.mark.parametrize(
    "link", [pytest.param("ns_pod_uid", id="of the pod"), pytest.param("ns_pod_uid/app", id="of the container")]
)


def lead_elsewhere(link: Path, elsewhere: Path) -> None:
    """Act like a pod that may write below /var/log/pods."""
    link.parent.mkdir(exist_ok=True)
    if link.exists():
        link.rename(link.with_name("moved"))
    link.symlink_to(elsewhere)


@every_log_directory
@pytest.mark.parametrize("name", ["app/0.log", "app/new/0.log"])
def test_a_link_as_a_directory_of_logs_leads_nothing_elsewhere(pods: Path, link: str, name: str) -> None:
    pod, elsewhere = pods / "ns_pod_uid", pods.parent / "elsewhere"
    lead_elsewhere(pods / link, elsewhere)
    with pytest.raises(InvalidArgument, match="is not a directory, or is a link"):
        ContainerLog(pod / name, pods.parent / "position", pod)
    assert list(elsewhere.rglob("*")) == [elsewhere / "app"]


@every_log_directory
def test_a_link_as_a_directory_of_logs_leads_no_rotation_elsewhere(pods: Path, link: str) -> None:
    pod, elsewhere = pods / "ns_pod_uid", pods.parent / "elsewhere"
    with ContainerLog(pod / "app/0.log", pods.parent / "position", pod) as log:
        lead_elsewhere(pods / link, elsewhere)
        with pytest.raises(InvalidArgument, match="is not a directory, or is a link"):
            log.reopen()
    assert list(elsewhere.rglob("*")) == [elsewhere / "app"]


@every_log_directory
def test_what_a_kill_left_is_not_cut_from_a_file_below_a_link(pods: Path, link: str) -> None:
    """A hard link has the inode that the position knows."""
    pod, elsewhere = pods / "ns_pod_uid", pods.parent / "elsewhere"
    with ContainerLog(pod / "app/0.log", pods.parent / "position", pod) as log:
        assert log.path is not None
        for victim in (elsewhere / "victim", elsewhere / "app/victim"):
            victim.hardlink_to(log.path)
        log.path.write_text("untouched")
    lead_elsewhere(pods / link, elsewhere)
    with pytest.raises(InvalidArgument, match="is not a directory, or is a link"):
        ContainerLog(pod / "app/0.log", pods.parent / "position", pod)
    assert (elsewhere / "victim").read_text() == "untouched"


def test_logs_may_lie_behind_a_link_of_the_administrators(pods: Path) -> None:
    pod = pods / "ns_pod_uid"
    with ContainerLog(pod / "app/0.log", pods.parent / "position", pod) as log:
        log.reopen()
    made = [pods.parent / "disk" / name for name in ("ns_pod_uid", "ns_pod_uid/app", "ns_pod_uid/app/0.log")]
    assert [oct(stat.S_IMODE(path.lstat().st_mode)) for path in made] == ["0o755", "0o755", "0o640"]


@every_kind
def test_a_rotation_into_something_else_leaves_the_log_where_it_is(place: Path, tmp_path: Path, kind: str) -> None:
    with ContainerLog(place / "0.log", tmp_path / "position") as log:
        (place / "0.log").rename(place / "0.log.1")
        KINDS[kind](place / "0.log")
        with pytest.raises(InvalidArgument, match="cannot be opened"):
            log.reopen()


def test_what_a_kill_left_is_not_cut_from_what_a_link_leads_to(place: Path, tmp_path: Path) -> None:
    """The log's inode number is all that a position knows; a link has one as well."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    with ContainerLog(place / "0.log", tmp_path / "position"):
        (place / "0.log").unlink()
    (place / "0.log").symlink_to(victim)
    position = json.loads((tmp_path / "position").read_text())
    position["inode"] = (place / "0.log").lstat().st_ino
    (tmp_path / "position").write_text(json.dumps(position))
    with pytest.raises(InvalidArgument):
        ContainerLog(place / "0.log", tmp_path / "position")
    assert victim.read_text() == "untouched"


@every_kind
def test_a_log_position_is_not_opened_there(place: Path, tmp_path: Path, kind: str) -> None:
    KINDS[kind](place)
    with pytest.raises(OSError, match="not a regular file"):
        ContainerLog(tmp_path / "log", place)


@every_kind
async def test_a_log_is_not_read_there(place: Path, kind: str) -> None:
    KINDS[kind](place)
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        async for _ in follow_log(place, ended=lambda: True):
            pass


@every_kind
def test_a_seccomp_profile_is_not_read_there(place: Path, kind: str) -> None:
    KINDS[kind](place)
    security = ContainerSecurity(seccomp=SecurityProfile("localhost", str(place)))
    with pytest.raises(InvalidArgument, match="not a regular file"):
        seccomp.build_seccomp(security, machine="x86_64", kernel="6.12")


@never_a_file
def test_the_configuration_is_not_read_there(place: Path, kind: str) -> None:
    KINDS[kind](place)
    with pytest.raises(FailedPrecondition, match="not a regular file"):
        config.load(place)


def test_a_cni_configuration_that_is_a_fifo_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "10-net.conflist")
    bridge = network_config.default_bridge(BridgeConfig(), tmp_path, ipv6=False)
    assert network_config.load(tmp_path, bridge) is bridge


@every_kind
def test_a_record_of_the_network_is_not_read_there(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path / "1234.json")
    with pytest.raises(Internal, match="not a regular file"):
        AttachmentStore(tmp_path).load("1234")


@never_a_file
def test_credentials_are_not_read_there(place: Path, tmp_path: Path, kind: str) -> None:
    KINDS[kind](place)
    with pytest.raises(FailedPrecondition, match="not a regular file"):
        authfile("registry", None, place)


@every_kind
def test_a_document_of_an_image_is_not_read_there(tmp_path: Path, kind: str) -> None:
    digest = digest_of(b"content")
    (tmp_path / "sha256").mkdir()
    KINDS[kind](tmp_path / "sha256" / digest[7:])
    with pytest.raises(InvalidArgument, match="not a regular file"):
        Blobs(tmp_path).read(digest)


@every_kind
def test_a_layer_of_an_archive_is_not_copied_from_there(place: Path, tmp_path: Path, kind: str) -> None:
    KINDS[kind](place)
    (tmp_path / "store/sha256").mkdir(parents=True)
    layer = Descriptor("application/vnd.oci.image.layer.v1.tar", digest_of(b"content"), 7)
    with pytest.raises(VmsandboxError, match="not a regular file"):
        Blobs(tmp_path / "store").adopt(place, layer, tmp_path, moved=False)
