"""User namespaces of config.json: the machine's, whose ids are those of the host; and owners of volumes."""

from typing import Any

import pytest

from tests.unit.oci.configs import config, namespaces
from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import (
    IdMapping,
    NamespaceMode,
    Namespaces,
    PodSandboxConfig,
    PodSandboxMetadata,
    SandboxState,
    SandboxStatus,
    UserNamespace,
)
from vmsandbox.oci.from_oci import OciContainer, from_oci
from vmsandbox.oci.pods import Place
from vmsandbox.sandbox.spec import check_container, check_pod, user_namespace

POD = PodSandboxMetadata("c1", "/run/root", "oci")
ALONE = Place(POD)
KINDS = ("pid", "network", "ipc", "uts", "mount")
MAPPINGS = [{"containerID": 0, "hostID": 200_000, "size": 65_536}]
MAPPED = (IdMapping(200_000, 0, 65_536),)
USERS = UserNamespace(NamespaceMode.POD, MAPPED, MAPPED)


def converted(
    place: Place = ALONE, mappings: Any = MAPPINGS, user: dict[str, Any] | None = None, **changes: Any
) -> OciContainer:
    """A container with a user namespace, in the machine of `place`."""
    given = [*namespaces(*KINDS), {"type": "user", **(user or {})}]
    linux = config()["linux"] | {"namespaces": given, "uidMappings": mappings, "gidMappings": mappings}
    return from_oci(place, "c1", "/bundle", config(linux=linux, **changes))


def beside(users: UserNamespace | None) -> Place:
    """A place in a machine that is there."""
    pod = PodSandboxConfig(POD, namespaces=Namespaces(user=users), sysctls=config()["linux"]["sysctl"])
    return Place(POD, SandboxStatus("a" * 32, pod, SandboxState.READY, 1), frozenset({"network", "ipc", "uts"}))


def test_the_machine_has_the_users_of_its_first_container() -> None:
    made = converted()
    check_pod(made.pod)
    check_container(made.container, made.pod)
    mapped = user_namespace(made.pod)
    assert mapped and (mapped.first_uid, mapped.uids, mapped.first_gid, mapped.gids) == (200_000, 65_536) * 2


def test_a_namespace_that_a_file_keeps_has_its_mappings_beside_it_as_cri_o_says_them() -> None:
    assert converted(user={"path": "/var/run/userns/one"}).pod.namespaces.user == USERS


def test_what_belongs_to_the_machine_is_bound_for_users_who_do_not_own_it() -> None:
    mounts = [
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "ro"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid"]},
        {"destination": "/proc", "type": "proc", "source": "proc"},
    ]
    spec = converted(mounts=mounts).container.spec
    assert isinstance(spec, dict)
    assert [(each["type"], each["source"]) for each in spec["mounts"]] == [
        ("bind", "/sys"),
        ("bind", "/dev/mqueue"),
        ("proc", "proc"),
    ]
    assert spec["mounts"][0]["options"] == ["rbind", "rprivate", "nosuid", "ro"]


def test_a_container_joins_the_users_of_its_machine_whatever_mappings_stand_beside_the_path() -> None:
    nothing_real = [{"containerID": 0, "hostID": 0, "size": 1}]  # as podman does
    joined = converted(beside(USERS), nothing_real, {"path": "/proc/7/ns/user"})
    assert joined.pod.namespaces.user == USERS
    assert converted(beside(USERS)).pod.namespaces.user == USERS


def test_a_container_with_other_users_than_its_machine_is_refused() -> None:
    other = [{"containerID": 0, "hostID": 300_000, "size": 65_536}]
    for place, mappings in ((beside(USERS), other), (beside(None), MAPPINGS)):
        with pytest.raises(Unimplemented, match="share its user namespace"):
            converted(place, mappings)
    with pytest.raises(Unimplemented, match="share its user namespace"):
        from_oci(beside(USERS), "c1", "/bundle", config())


def test_users_without_mappings_or_with_malformed_ones_are_an_error_of_the_caller() -> None:
    with pytest.raises(InvalidArgument, match="no mappings"):
        converted(mappings=[])
    for broken in ([{"containerID": 0}], [5], [{"containerID": 0, "hostID": "x", "size": 1}]):
        with pytest.raises(InvalidArgument, match="malformed"):
            converted(mappings=broken)


def test_several_mappings_are_refused_by_the_rule_that_pods_have() -> None:
    several = [*MAPPINGS, {"containerID": 65_536, "hostID": 1, "size": 1}]
    with pytest.raises(InvalidArgument, match="exactly one mapping"):
        check_pod(converted(mappings=several).pod)


def bind(*options: str, **more: Any) -> OciContainer:
    mount = {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", *options], **more}
    return converted(mounts=[mount])


def test_the_owners_of_a_volume_are_mapped_on_the_host() -> None:
    made = bind("ridmap", uidMappings=MAPPINGS, gidMappings=MAPPINGS)
    [volume] = made.container.mounts
    assert (volume.uid_mappings, volume.gid_mappings) == (MAPPED, MAPPED)
    assert isinstance(made.container.spec, dict)
    assert made.container.spec["mounts"][0]["options"] == ["rbind", "rprivate"]
    assert "uidMappings" not in made.container.spec["mounts"][0]


def test_a_volume_that_asks_for_no_mapping_of_its_own_has_that_of_the_users() -> None:
    assert bind("idmap").container.mounts[0].uid_mappings == MAPPED
    assert bind().container.mounts[0].uid_mappings == ()


def test_mapped_owners_of_what_is_not_a_bind_are_refused() -> None:
    mount = {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "uidMappings": MAPPINGS, "gidMappings": MAPPINGS}
    with pytest.raises(InvalidArgument, match="not a bind"):
        converted(mounts=[mount])
