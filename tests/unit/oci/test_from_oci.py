"""config.json as the model's pod and container."""

import pytest

from tests.unit.oci.configs import config, namespaces
from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import (
    ContainerConfig,
    ImageConfig,
    Mount,
    NamespaceMode,
    PodSandboxConfig,
    PodSandboxMetadata,
    PropagationMode,
    Resources,
    SandboxState,
    SandboxStatus,
)
from vmsandbox.oci.from_oci import OciContainer, from_oci, process_from_oci
from vmsandbox.oci.membership import Membership
from vmsandbox.oci.pods import Place
from vmsandbox.protocol import paths
from vmsandbox.protocol.codec import decode, encode
from vmsandbox.sandbox.spec import MountSource, SpecInputs, build_spec, check_container, check_pod

ALONE = Place(PodSandboxMetadata("c1", "/run/root", "oci"))


def converted(place: Place = ALONE, **changes) -> OciContainer:
    return from_oci(place, "c1", "/bundle", config(**changes))


def beside(*shared: str, processes_of: str = "", **settings) -> Place:
    """A place in a machine that is there."""
    pod = PodSandboxConfig(ALONE.pod, **settings)
    machine = SandboxStatus("a" * 32, pod, SandboxState.READY, 1)
    return Place(ALONE.pod, machine, frozenset(shared), processes_of)


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
    assert (new.network_namespace, new.networkless, new.late_network) == ("", True, True)


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


def bound(*options: str) -> tuple[Mount, dict[str, str]]:
    """Convert a bind at /v that has a mount below it; return it, and the guest's mounts with their modes."""
    mount = {"destination": "/v", "type": "bind", "source": "/x", "options": ["rbind", *options]}
    container = converted(mounts=[mount]).container
    below = MountSource("/share/0", readonly=True, writable=("a/b",))
    mounts = build_spec(SpecInputs("id", container, ImageConfig(), "web", [below]))["mounts"]
    return container.mounts[0], {f"{each['destination']} {each['source']}": each["options"][-1] for each in mounts}


def test_what_is_mounted_below_a_read_only_bind_stays_writable() -> None:
    mount, guests = bound("rprivate", "ro")
    assert (mount.readonly, mount.recursive_read_only) == (True, False)
    assert guests == {"/v /share/0": "ro", "/v/a/b /share/0/a/b": "rw"}


def test_a_bind_that_is_recursively_read_only_has_nothing_writable_below() -> None:
    mount, guests = bound("rprivate", "rro")
    assert (mount.readonly, mount.recursive_read_only) == (True, True)
    assert guests == {"/v /share/0": "rro"}


def test_a_recursively_read_only_bind_that_follows_the_host_is_so_in_the_guest_alone() -> None:
    mount, guests = bound("rslave", "rro")
    assert (mount.readonly, mount.recursive_read_only) == (True, False)
    assert guests == {"/v /share/0": "rro"}


def test_the_user_is_taken_by_its_numbers_alone() -> None:
    security = converted().container.security
    assert (security.run_as_user, security.run_as_group, security.supplemental_groups) == (1000, 100, (100, 7))


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "network"])
def test_a_namespace_of_the_host_is_refused(kind: str) -> None:
    kinds = [each for each in ("pid", "network", "ipc", "uts", "mount") if each != kind]
    with pytest.raises(Unimplemented, match=f"the host's {kind} namespace"):
        converted(linux=linux(namespaces=namespaces(*kinds)))


def test_a_namespace_of_another_machine_is_refused() -> None:
    for kind in ("ipc", "uts", "pid"):
        kinds = [each for each in ("pid", "network", "ipc", "uts", "mount") if each != kind]
        with pytest.raises(Unimplemented, match=f"the {kind} namespace /proc/7/ns/x, which its machine does not have"):
            converted(linux=linux(namespaces=namespaces(*kinds, **{kind: "/proc/7/ns/x"})))


@pytest.mark.parametrize("says", [Membership("c1", is_sandbox=True), Membership("pod1")])
def test_the_namespaces_that_a_caller_keeps_for_a_pod_by_files_are_its_machines(says: Membership) -> None:
    """CRI-O makes them before the pod's first container, and names them in each."""
    kept = {kind: f"/run/{kind}ns/one" for kind in ("ipc", "uts", "network")}
    made = converted(Place(ALONE.pod, membership=says), linux=linux(namespaces=namespaces("pid", "mount", **kept)))
    assert made.pod.network_namespace == "/run/networkns/one"
    assert isinstance(made.container.spec, dict)
    assert made.container.spec["linux"]["namespaces"] == namespaces("pid", "mount", "cgroup")


PODS = namespaces("pid", "mount", network="/proc/7/ns/net", ipc="/proc/7/ns/ipc", uts="/proc/7/ns/uts")


def test_a_container_of_a_pod_has_what_its_machine_has() -> None:
    pod = beside("network", "ipc", "uts", sysctls=config()["linux"]["sysctl"])
    spec = converted(pod, linux=linux(namespaces=PODS)).container.spec
    assert isinstance(spec, dict) and spec["linux"]["namespaces"] == namespaces("pid", "mount", "cgroup")
    assert "hostname" not in spec and paths.SHM in [mount["source"] for mount in spec["mounts"]]


def test_a_container_that_shares_the_network_alone_has_a_name_and_memory_of_its_own() -> None:
    pod = beside("network", sysctls=config()["linux"]["sysctl"])
    wanted = namespaces("pid", "mount", "ipc", "uts", network="/proc/7/ns/net")
    spec = converted(pod, linux=linux(namespaces=wanted)).container.spec
    assert isinstance(spec, dict) and spec["hostname"] == "web"
    assert spec["linux"]["namespaces"] == namespaces("pid", "mount", "cgroup", "ipc", "uts")
    [shm] = [mount for mount in spec["mounts"] if mount["destination"] == "/dev/shm"]
    assert (shm["type"], shm["source"]) == ("tmpfs", "shm")


def test_a_container_that_shares_processes_names_whose() -> None:
    pod = beside("network", "ipc", "uts", processes_of="c" * 32, sysctls=config()["linux"]["sysctl"])
    wanted = [*PODS[1:], {"type": "pid", "path": "/proc/7/ns/pid"}]
    shared = converted(pod, linux=linux(namespaces=wanted)).container.security.namespaces
    assert (shared.pid, shared.target_id) == (NamespaceMode.TARGET, "c" * 32)


def test_a_container_in_a_machine_that_is_there_cannot_have_another_network_or_other_sysctls() -> None:
    with pytest.raises(Unimplemented, match="share its network"):
        converted(beside("ipc"))
    with pytest.raises(Unimplemented, match="it is the machine's"):
        converted(beside("network", "ipc", "uts"), linux=linux(namespaces=PODS))


def test_the_pod_is_as_large_and_of_the_handler_that_its_sandbox_says() -> None:
    declared = Resources(memory_limit=1 << 30)
    says = Membership("c1", is_sandbox=True, declared=declared, handler="small")
    pod = converted(Place(ALONE.pod, membership=says)).pod
    assert (pod.resources, pod.runtime_handler, pod.cgroup_parent) == (declared, "small", "/libpod_parent/libpod-1")


def test_the_machine_of_a_pod_without_a_sandbox_is_charged_to_the_pod() -> None:
    says = Membership("pod1", declared=Resources())
    wanted = linux(cgroupsPath="/kubepods/pod1/crio-c1")
    assert converted(Place(ALONE.pod, membership=says), linux=wanted).pod.cgroup_parent == "/kubepods/pod1"


def test_a_namespace_of_another_kind_is_refused() -> None:
    with pytest.raises(Unimplemented, match="type time"):
        converted(linux=linux(namespaces=namespaces("pid", "network", "ipc", "uts", "mount", "time")))


def test_a_device_of_the_host_is_refused_and_one_without_hardware_is_the_guests() -> None:
    def devices(*names: str) -> dict:
        return linux(devices=[{"path": path, "type": "c", "major": 10, "minor": 229} for path in names])

    spec = converted(linux=devices("/dev/fuse")).container.spec
    assert isinstance(spec, dict) and spec["linux"]["devices"][0]["path"] == "/dev/fuse"
    with pytest.raises(Unimplemented, match="/dev/kvm is a device of the host"):
        converted(linux=devices("/dev/kvm"))
    with pytest.raises(Unimplemented, match="cannot have; so are 2 others: a privileged container asks for all"):
        converted(linux=devices("/dev/fuse", "/dev/kvm", "/dev/sda", "/dev/sdb"))


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
