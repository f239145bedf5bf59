"""The security context of a container: its user, its rights, and what is kept from it."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins import images
from tests.support.conformance_client import Pod

USER, GROUP = {"value": 1001}, {"value": 1002}


@pytest.mark.parametrize(
    ("security", "command", "printed"),
    [
        ({"run_as_user": USER}, "id -u", "1001"),
        ({"run_as_username": "nobody"}, "id -un", "nobody"),
        ({"run_as_user": USER, "run_as_group": GROUP}, "echo $(id -u):$(id -g)", "1001:1002"),
        ({"supplemental_groups": [1234, 5678]}, "id -G", "0 1234 5678"),
    ],
    ids=["user", "username", "group", "supplemental groups"],
)
def test_a_container_runs_as_it_is_told(pod: Pod, security: dict[str, Any], command: str, printed: str) -> None:
    container = pod.start(security=security)
    assert container.output("sh", "-c", command) == f"{printed}\n"
    container.remove()
    assert pod.run("sh", "-c", command, security=security).stdout == f"{printed}\n"


def test_a_group_without_a_user_is_refused(pod: Pod) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pod.create(security={"run_as_group": GROUP})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("policy", "groups"), [(pb.Merge, [1000, 1234, 50000]), (pb.Strict, [1000, 1234])], ids=["merge", "strict"]
)
def test_the_groups_of_the_image_are_added_or_not(pod: Pod, policy: int, groups: list[int]) -> None:
    security = {"run_as_user": {"value": 1000}, "supplemental_groups": [1234], "supplemental_groups_policy": policy}
    container = pod.start(image=images.PREDEFINED_GROUP, security=security)
    assert container.output("id", "-G") == " ".join(map(str, groups)) + "\n"
    user = container.status().user.linux
    assert (user.uid, user.gid, sorted(user.supplemental_groups)) == (1000, 1000, groups)
    container.remove()


@pytest.mark.parametrize(("readonly", "code"), [(False, 0), (True, 1)])
def test_the_root_is_read_only_where_asked(pod: Pod, readonly: bool, code: int) -> None:
    ended = pod.run("touch", "/file", security={"readonly_rootfs": readonly})
    assert ended.status.exit_code == code
    assert ("Read-only file system" in ended.stderr) is readonly


@pytest.mark.parametrize(
    ("security", "allowed"),
    [
        ({}, False),
        ({"capabilities": {"add_capabilities": ["NET_ADMIN"]}}, True),
        ({"capabilities": {"add_capabilities": ["ALL"]}}, True),
    ],
    ids=["by default", "NET_ADMIN", "ALL"],
)
def test_the_network_is_changed_by_those_who_may(pod: Pod, security: dict[str, Any], allowed: bool) -> None:
    container = pod.start(security=security)
    assert (container.exec("ip", "link", "set", "lo", "down").exit_code == 0) is allowed
    assert not allowed or container.output("ip", "link", "set", "lo", "up") == ""
    container.remove()


@pytest.mark.parametrize(
    ("capabilities", "bound"),
    [
        ({"drop_capabilities": ["ALL"]}, {"CapBnd": 0}),
        ({"add_capabilities": ["ALL"]}, {"CapBnd": (1 << 41) - 1}),
        ({"drop_capabilities": ["ALL"], "add_capabilities": ["CHOWN"]}, {"CapBnd": 1, "CapEff": 1}),
        ({"drop_capabilities": ["ALL"], "add_ambient_capabilities": ["CHOWN"]}, {"CapAmb": 1}),
    ],
    ids=["none", "all", "one", "ambient"],
)
def test_capabilities_are_those_asked_for(pod: Pod, capabilities: dict[str, Any], bound: dict[str, int]) -> None:
    status = pod.run("cat", "/proc/self/status", security={"capabilities": capabilities}).stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Cap"))
    assert {name: int(fields[name], 16) for name in bound} == bound


def test_without_raw_sockets_there_is_no_ping(pod: Pod) -> None:
    container = pod.start(security={"capabilities": {"drop_capabilities": ["NET_RAW"]}})
    answer = container.exec("ping", "-c", "1", "127.0.0.1")
    assert answer.exit_code != 0 and b"permission denied" in answer.stderr
    container.remove()


def test_a_privileged_container_may_do_what_the_guests_root_may(privileged_pod: Pod) -> None:
    container = privileged_pod.start(security={"privileged": True})
    container.output("mount", "-t", "tmpfs", "none", "/mnt")
    container.output("hostname", "another")
    container.output("brctl", "addbr", "bridge0")
    container.output("brctl", "delbr", "bridge0")
    assert container.exec("sh", "-c", "[ -c /dev/vda ] || [ -b /dev/sda ]").exit_code == 0
    container.remove()


def test_an_unprivileged_container_may_not_mount(pod: Pod) -> None:
    assert pod.run("mount", "-t", "tmpfs", "none", "/mnt").status.exit_code != 0


def test_a_privileged_container_needs_a_privileged_pod(pod: Pod) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pod.create(security={"privileged": True})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_masked_path_cannot_be_used(pod: Pod) -> None:
    container = pod.start(security={"masked_paths": ["/bin/ls", "/srv"]})
    answer = container.exec("/bin/sh", "-c", "ls")
    assert (answer.exit_code, answer.stderr) == (127, b"/bin/sh: ls: Permission denied\n")
    assert container.output("sh", "-c", "echo /srv/*") == "/srv/*\n"
    container.remove()


def test_a_read_only_path_cannot_be_written(pod: Pod) -> None:
    container = pod.start(security={"readonly_paths": ["/tmp"]})
    answer = container.exec("touch", "/tmp/file")
    assert (answer.exit_code, answer.stderr) == (1, b"touch: /tmp/file: Read-only file system\n")
    container.remove()


@pytest.mark.parametrize(("denied", "uid"), [(True, 1000), (False, 0)], ids=["denied", "allowed"])
def test_no_new_privileges_takes_set_user_id_away(pod: Pod, denied: bool, uid: int) -> None:
    security = {"no_new_privs": denied, "run_as_user": {"value": 1000}}
    ended = pod.run(image=images.NONEWPRIVS, command=[], security=security)
    assert ended.stdout == f"Effective uid: {uid}\n"


@pytest.mark.parametrize(
    ("profile", "mode"),
    [
        (None, "0"),
        ({"profile_type": pb.SecurityProfile.Unconfined}, "0"),
        ({"profile_type": pb.SecurityProfile.RuntimeDefault}, "2"),
    ],
    ids=["no profile", "unconfined", "default"],
)
def test_system_calls_are_filtered_by_the_kind_of_profile(pod: Pod, profile: dict[str, Any] | None, mode: str) -> None:
    container = pod.start(security={"seccomp": profile} if profile else {})
    assert container.output("sh", "-c", "grep ^Seccomp: /proc/self/status").split()[1] == mode
    container.remove()


@pytest.fixture
def profile(tmp_path: Path) -> dict[str, Any]:
    """A profile of the node that refuses changes of mode and of the host's name."""
    names = ["chmod", "fchmod", "fchmodat", "fchmodat2", "sethostname"]
    path = tmp_path / "profile.json"
    rule = {"names": names, "action": "SCMP_ACT_ERRNO"}
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    return {"profile_type": pb.SecurityProfile.Localhost, "localhost_ref": str(path)}


def test_a_profile_of_the_node_is_applied(pod: Pod, profile: dict[str, Any]) -> None:
    container = pod.start(security={"seccomp": profile, "capabilities": {"add_capabilities": ["SYS_ADMIN"]}})
    for command in (("chmod", "400", "/"), ("hostname", "another")):
        answer = container.exec(*command)
        assert answer.exit_code != 0 and b"Operation not permitted" in answer.stderr
    container.remove()


def test_a_profile_does_not_bind_a_privileged_container(privileged_pod: Pod, profile: dict[str, Any]) -> None:
    container = privileged_pod.start(security={"seccomp": profile, "privileged": True})
    container.output("chmod", "755", "/")
    container.remove()


def test_a_profile_that_is_not_there_is_refused(pod: Pod, tmp_path: Path) -> None:
    missing = {"profile_type": pb.SecurityProfile.Localhost, "localhost_ref": str(tmp_path / "missing.json")}
    with pytest.raises(grpc.RpcError) as caught:
        pod.create(security={"seccomp": missing})
    assert "missing.json" in caught.value.details()
