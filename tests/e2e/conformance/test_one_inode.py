"""Within a pod one file of the node is one file: containers meet by it, whichever mounts lead them there."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance_client import Container, Pod

MEETINGS = {
    "flock": ("hold-flock", "granted", "try-flock", "refused"),
    "fcntl": ("hold-fcntl", "granted", "try-fcntl", "refused"),
    "socket": ("listen", "listens", "connect", "connected"),
    "mapping": ("map-write", "written", "map-read", "seen"),
}
"""The programs of two containers that meet by a file, and their output."""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory of the node, with files for what needs one."""
    inner = tmp_path / "volume" / "sub"
    inner.mkdir(parents=True)
    fill(inner)
    return tmp_path / "volume"


def fill(directory: Path) -> None:
    for name in MEETINGS:
        if name != "socket":
            (directory / name).write_bytes(bytes(4096))


def at(path: Path, place: str, **mount: Any) -> dict[str, Any]:
    return {"host_path": str(path), "container_path": place, **mount}


@contextmanager
def started(pod: Pod, *mounts: dict[str, Any], **config: Any) -> Iterator[Container]:
    container = pod.start(mounts=mounts, **config)
    try:
        yield container
    finally:
        container.remove()


@contextmanager
def kubelets_sub_path(source: Path, target: Path) -> Iterator[Path]:
    """A bind mount of the source, as a kubelet makes it for a sub-path."""
    target.mkdir()
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", target], check=True)


def hold(container: Container, place: str) -> None:
    """Have processes of a container wait at each meeting point of a directory."""
    begun = "".join(f"meet {verb} {place}/{name} >/tmp/{name} 2>&1 & " for name, (verb, *_) in MEETINGS.items())
    files = " ".join(f"/tmp/{name}" for name in MEETINGS)
    said = f"for i in $(seq 50); do [ $(cat {files} | wc -l) = {len(MEETINGS)} ] && break; sleep 0.1; done; cat {files}"
    answers = container.output("sh", "-c", f"rm -f {place}/socket; {begun} {said}")
    assert answers.split() == [said for _, said, _, _ in MEETINGS.values()]


def assert_met(container: Container, place: str) -> None:
    asked = "; ".join(f"meet {verb} {place}/{name} 2>&1" for name, (_, _, verb, _) in MEETINGS.items())
    assert container.output("sh", "-c", asked).split() == [said for *_, said in MEETINGS.values()]


def assert_fifo_leads(writer: Container, written: str, reader: Container, read: str) -> None:
    writer.output("sh", "-c", f"rm -f {written}; mkfifo {written}; (echo through >{written}) >/dev/null 2>&1 &")
    assert reader.output("cat", read) == "through\n"


def test_two_mounts_of_one_container_are_one_directory(pod: Pod, volume: Path) -> None:
    with started(pod, at(volume / "sub", "/a"), at(volume / "sub", "/b")) as container:
        assert container.output("sh", "-c", "stat -c %d:%i /a /a/flock") == container.output(
            "sh", "-c", "stat -c %d:%i /b /b/flock"
        )
        hold(container, "/a")
        assert_met(container, "/b")
        assert_fifo_leads(container, "/a/fifo", container, "/b/fifo")


@pytest.mark.parametrize(
    ("first", "second"),
    [("", ""), ("sub", ""), ("", "sub"), ("kubelet", ""), ("", "kubelet"), ("kubelet", "sub")],
    ids=["one volume", "part first", "whole first", "kubelet's part first", "kubelet's part later", "part twice"],
)
def test_two_containers_meet_in_a_volume_and_in_its_parts(
    pod: Pod, volume: Path, tmp_path: Path, first: str, second: str
) -> None:
    with ExitStack() as stack:
        places = {"": (volume, "/v/sub"), "sub": (volume / "sub", "/v")}
        places["kubelet"] = stack.enter_context(kubelets_sub_path(volume / "sub", tmp_path / "0")), "/v"
        (source, place), (other_source, other_place) = places[first], places[second]
        one = stack.enter_context(started(pod, at(source, "/v")))
        hold(one, place)
        other = stack.enter_context(started(pod, at(other_source, "/v")))
        assert_met(other, other_place)
        assert_met(one, place)
        assert_fifo_leads(other, f"{other_place}/fifo", one, f"{place}/fifo")
        one.output("sh", "-c", f"cd {place} && [ $(/bin/pwd) = {place} ] && echo of one >note")
        assert other.output("cat", f"{other_place}/note") == "of one\n"


def test_a_part_that_is_a_file_is_the_file_in_the_whole(pod: Pod, volume: Path) -> None:
    with started(pod, at(volume / "sub" / "flock", "/f")) as one:
        one.output("sh", "-c", "meet hold-flock /f >/dev/null 2>&1 & sleep 0.5")
        with started(pod, at(volume, "/v")) as other:
            assert other.output("meet", "try-flock", "/v/sub/flock") == "refused\n"


@pytest.mark.parametrize("first", [True, False], ids=["read-only first", "read-only later"])
@pytest.mark.parametrize("part", ["", "sub"], ids=["whole", "part"])
def test_a_container_that_may_only_read_meets_one_that_writes(
    pod: Pod, volume: Path, *, first: bool, part: str
) -> None:
    mounts = [at(volume / part, "/v", readonly=True), at(volume, "/v")]
    with ExitStack() as stack:
        one, other = (stack.enter_context(started(pod, mount)) for mount in (mounts if first else mounts[::-1]))
        reader, writer = (one, other) if first else (other, one)
        reads = "/v" if part else "/v/sub"
        hold(writer, "/v/sub")
        assert reader.output("meet", "connect", f"{reads}/socket") == "connected\n"
        writer.output("sh", "-c", "echo written >/v/sub/note")
        assert reader.output("cat", f"{reads}/note") == "written\n"
        assert b"Read-only file system" in reader.exec("touch", f"{reads}/new").stderr
        assert not (volume / "sub" / "new").exists()


def test_what_is_read_only_for_all_is_so_on_the_node(privileged_pod: Pod, volume: Path) -> None:
    with started(privileged_pod, at(volume, "/v", readonly=True), security={"privileged": True}) as container:
        answer = container.exec("sh", "-c", "mkdir /s; mount -t virtiofs vmsandbox /s; cd /s/*/sub; touch new")
        assert b"Read-only file system" in answer.stderr


def test_a_volume_stays_while_a_container_has_it_and_goes_with_the_last(privileged_pod: Pod, volume: Path) -> None:
    with started(privileged_pod, security={"privileged": True}) as watcher:
        watcher.output("sh", "-c", "mkdir /s; mount -t virtiofs vmsandbox /s")
        before = watcher.output("ls", "/s")
        with started(privileged_pod, at(volume, "/v")) as stays:
            with started(privileged_pod, at(volume / "sub", "/v")) as goes:
                hold(goes, "/v")
                assert len(watcher.output("ls", "/s").split()) == len(before.split()) + 1
            assert_fifo_leads(stays, "/v/sub/fifo", stays, "/v/sub/fifo")
            with started(privileged_pod, at(volume / "sub", "/v")) as again:
                hold(stays, "/v/sub")
                assert_met(again, "/v")
        assert watcher.output("ls", "/s") == before


def test_a_mount_that_follows_the_node_meets_one_that_does_not(privileged_pod: Pod, volume: Path) -> None:
    subprocess.run(["mount", "--bind", volume, volume], check=True)
    try:
        subprocess.run(["mount", "--make-shared", volume], check=True)
        follows = at(volume, "/v", propagation=pb.PROPAGATION_HOST_TO_CONTAINER)
        (volume / "later").mkdir()
        with started(privileged_pod, at(volume, "/v")) as one, started(privileged_pod, follows) as other:
            hold(one, "/v/sub")
            assert_met(other, "/v/sub")
            subprocess.run(["mount", "-t", "tmpfs", "none", volume / "later"], check=True)
            (volume / "later" / "seen").touch()
            assert (
                other.output(
                    "sh", "-c", "for i in $(seq 30); do [ -e /v/later/seen ] && break; sleep 0.1; done; ls /v/later"
                )
                == "seen\n"
            )
    finally:
        subprocess.run(["umount", "-R", "-l", volume], check=True)


def test_what_a_container_mounts_in_a_volume_is_seen_by_those_that_asked_for_it_and_stays(
    privileged_pod: Pod, volume: Path
) -> None:
    both = at(volume, "/v", propagation=pb.PROPAGATION_BIDIRECTIONAL)
    follows = at(volume, "/v", propagation=pb.PROPAGATION_HOST_TO_CONTAINER)
    with (
        started(privileged_pod, both, security={"privileged": True}) as one,
        started(privileged_pod, follows) as other,
        started(privileged_pod, at(volume, "/v")) as private,
    ):
        one.output("sh", "-c", "mkdir /v/m; mount -t tmpfs none /v/m; touch /v/m/inside")
        with started(privileged_pod, follows) as later:
            assert later.output("ls", "/v/m") == "inside\n"
        assert one.output("ls", "/v/m") == "inside\n"
        assert other.output("ls", "/v/m") == "inside\n"
        assert private.output("ls", "/v/m") == ""
        one.output("umount", "/v/m")
        assert other.output("ls", "/v/m") == ""


def test_a_link_in_place_of_a_part_leads_no_container_out_of_the_volume(pod: Pod, volume: Path) -> None:
    """A sibling replaces what the node has found to be a directory, again and again, by a link to the guest's own.

    The node has no such directory, also when a daemon of it uses /run/vmsandbox: what a link means there is its own.
    """
    attack = "cd /v; while :; do mv sub kept; ln -s /run/vmsandbox/images sub; rm sub; mv kept sub; done"
    with started(pod, at(volume, "/v")) as sibling:
        sibling.output("sh", "-c", f"touch /v/sub/mine; {{ {attack}; }} >/dev/null 2>&1 &")
        seen = set()
        for _ in range(6):
            try:
                with started(pod, at(volume / "sub", "/v")) as victim:
                    seen.add(victim.output("ls", "/v/mine"))
            except Exception as error:
                seen.add(type(error).__name__)
        assert seen <= {"/v/mine\n", "_InactiveRpcError"}
