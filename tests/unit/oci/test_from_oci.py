"""config.json as the model's pod and container."""

import pytest

from tests.unit.oci.configs import config, namespaces
from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import ContainerConfig, ImageConfig, Mount, PodSandboxConfig, PropagationMode
from vmsandbox.oci.from_oci import OciContainer, from_oci, process_from_oci
from vmsandbox.protocol import paths
from vmsandbox.protocol.codec import decode, encode
from vmsandbox.sandbox.spec import MountSource, SpecInputs, build_spec, check_container, check_pod


def converted(**changes) -> OciContainer:
    return from_oci("c1", "/run/root", "/bundle", config(**changes))


def linux(**changes) -> dict:
    return config()["linux"] | changes


def test_what_podman_writes_passes_the_rules_and_can_be_recorded() -> None:
    found = converted()
    check_pod(found.pod)
    check_container(found.container, found.pod)
    assert decode(PodSandboxConfig, encode(found.pod)) == found.pod
    assert decode(ContainerConfig, encode(found.container)) == found.container


def test_the_machine_has_the_hostname_the_sysctls_the_cgroup_and_the_size() -> None:
    pod = converted().pod
    assert (pod.metadata.name, pod.metadata.uid, pod.metadata.namespace) == ("c1", "/run/root", "oci")
    assert (pod.hostname, pod.cgroup_parent) == ("web", "/libpod_parent/libpod-1")
    assert pod.sysctls == {"net.ipv4.ping_group_range": "0 0"}
    assert (pod.resources.memory_limit, pod.resources.cpu_quota) == (64 << 20, 50000)


def test_a_network_namespace_with_a_path_is_joined_and_with_a_new_one_there_is_lo_alone() -> None:
    assert (converted().pod.network_namespace, converted().pod.networkless) == ("/run/netns/one", False)
    new = converted(linux=linux(namespaces=namespaces("pid", "network", "ipc", "uts", "mount"))).pod
    assert (new.network_namespace, new.networkless) == ("", True)


def test_binds_of_the_host_are_volumes_relative_to_the_bundle() -> None:
    assert converted().container.mounts == (
        Mount("/etc/hosts", "/run/pod/hosts"),
        Mount("/data", "/bundle/data", readonly=True, propagation=PropagationMode.HOST_TO_CONTAINER),
    )
    assert converted().container.root == "/storage/merged"
    assert converted(root={"path": "rootfs"}).container.root == "/bundle/rootfs"


def test_the_guest_has_the_callers_process_and_limits_and_the_sources_of_its_binds() -> None:
    container = converted().container
    sources = [MountSource("/share/hosts", readonly=False), MountSource("/share/data", readonly=True)]
    spec = build_spec(SpecInputs("id", container, ImageConfig(), "web", sources))
    assert spec["process"]["args"] == ["sh", "-c", "exit 3"] and spec["process"]["cwd"] == "/srv"
    assert spec["linux"]["cgroupsPath"] == f"{paths.POD_CGROUP}/id"
    assert spec["linux"]["namespaces"] == namespaces("pid", "mount", "cgroup")
    mounted = {mount["destination"]: (mount["source"], mount["options"]) for mount in spec["mounts"]}
    assert mounted == {
        "/proc": ("proc", ["nosuid"]),
        "/tmp": ("tmpfs", ["size=1m", "tmpcopyup"]),
        "/etc/hosts": ("/share/hosts", ["rbind", "rprivate"]),
        "/dev/shm": (paths.SHM, ["rbind", "rprivate", "nosuid"]),
        "/data": ("/share/data", ["rbind", "rslave", "ro"]),
    }


def test_the_user_is_taken_by_its_numbers_alone() -> None:
    security = converted().container.security
    assert (security.run_as_user, security.run_as_group, security.supplemental_groups) == (1000, 100, (100, 7))


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "network"])
def test_a_namespace_of_the_host_is_refused(kind: str) -> None:
    kinds = [each for each in ("pid", "network", "ipc", "uts", "mount") if each != kind]
    with pytest.raises(Unimplemented, match=f"the host's {kind} namespace"):
        converted(linux=linux(namespaces=namespaces(*kinds)))


def test_a_namespace_of_another_container_is_refused() -> None:
    with pytest.raises(Unimplemented, match="not supported yet"):
        converted(linux=linux(namespaces=namespaces("pid", "network", "uts", "mount", ipc="/proc/7/ns/ipc")))


def test_a_namespace_of_users_is_refused() -> None:
    with pytest.raises(Unimplemented, match="type user"):
        converted(linux=linux(namespaces=namespaces("pid", "network", "ipc", "uts", "mount", "user")))


def test_a_device_of_the_host_is_refused_and_one_without_hardware_is_the_guests() -> None:
    def devices(path: str) -> dict:
        return linux(devices=[{"path": path, "type": "c", "major": 10, "minor": 229}])

    spec = converted(linux=devices("/dev/fuse")).container.spec
    assert isinstance(spec, dict) and spec["linux"]["devices"][0]["path"] == "/dev/fuse"
    with pytest.raises(Unimplemented, match="/dev/kvm is a device of the host"):
        converted(linux=devices("/dev/kvm"))


def test_a_file_system_that_no_guest_has_is_refused() -> None:
    with pytest.raises(Unimplemented, match="'nfs'"):
        converted(mounts=[{"destination": "/data", "type": "nfs", "source": "server:/data"}])


@pytest.mark.parametrize(
    "broken",
    [
        {"ociVersion": "2.0"},
        {"process": None},
        {"root": None},
        {"mounts": [{"type": "proc"}]},
        {"mounts": 5},
        {"linux": {"namespaces": [{}]}},
    ],
)
def test_a_malformed_document_is_an_error_of_its_caller(broken: dict) -> None:
    with pytest.raises((InvalidArgument, Unimplemented)):
        converted(**broken)


def test_the_process_of_an_exec_is_taken_as_it_is() -> None:
    assert process_from_oci(config()["process"])["args"] == ["sh", "-c", "exit 3"]
    for broken in ({}, {"args": []}, [], None):
        with pytest.raises(InvalidArgument, match="no args"):
            process_from_oci(broken)
