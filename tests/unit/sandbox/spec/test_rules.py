"""The rules of pods and containers, with the field of the model that each rule is about."""

import pytest

from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    ContainerSecurity,
    IdMapping,
    Mount,
    NamespaceMode,
    Namespaces,
    PodSandboxConfig,
    PodSandboxMetadata,
    PortMapping,
    PropagationMode,
    Resources,
    SecurityProfile,
    UserNamespace,
)
from vmsandbox.sandbox.spec import check_container, check_pod, check_update

MAPPING = (IdMapping(65536, 0, 65536),)
OWN_USERS = UserNamespace(NamespaceMode.POD, MAPPING, MAPPING)


def pod(name: str = "p", uid: str = "u", namespace: str = "s", **given: object) -> PodSandboxConfig:
    return PodSandboxConfig(PodSandboxMetadata(name, uid, namespace), **given)  # type: ignore[arg-type]


def container(name: str = "c", image: str = "i", **given: object) -> ContainerConfig:
    return ContainerConfig(ContainerMetadata(name), image, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "said", "field"),
    [
        (pod(name=""), "lacks the name", "metadata"),
        (pod(uid=""), "lacks the name", "metadata"),
        (pod(namespace=""), "lacks the name", "metadata"),
        (pod(resources=Resources(cpu_shares=1)), "cpu_shares 1 is not valid", "resources.cpu_shares"),
        (pod(overhead=Resources(memory_limit=-1)), "memory_limit_in_bytes -1", "overhead.memory_limit"),
        (pod(namespaces=Namespaces(network=NamespaceMode.NODE)), "the host's network", "namespaces.network"),
        (pod(annotations={"vmsandbox/network": "None"}), "'None' is not a valid value", "annotations"),
        (
            pod(annotations={"vmsandbox/network": "none"}, port_mappings=(PortMapping(53, 0), PortMapping(80, 8080))),
            "cannot have a port of the host",
            "port_mappings",
        ),
        (pod(hostname="x" * 64), "at most 63", "hostname"),
        (pod(namespaces=Namespaces(pid=NamespaceMode.NODE, user=OWN_USERS)), "the processes", "namespaces.user"),
        (pod(namespaces=Namespaces(ipc=NamespaceMode.NODE, user=OWN_USERS)), "the IPC", "namespaces.user"),
        (pod(namespaces=Namespaces(user=UserNamespace())), "exactly one mapping", "namespaces.user"),
    ],
)
def test_a_pod_that_cannot_be_is_refused_by_its_field(config: PodSandboxConfig, said: str, field: str) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        check_pod(config)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"pod {config.metadata.namespace}/{config.metadata.name}: ")


def test_a_pod_without_a_network_may_name_ports_of_its_own() -> None:
    check_pod(pod(annotations={"vmsandbox/network": "none"}, port_mappings=(PortMapping(80, 0),)))


@pytest.mark.parametrize(
    ("config", "said", "field"),
    [
        (container(name=""), "lacks the name", "metadata.name"),
        (container(image=""), "no image", "image"),
        (container(log_path="../../etc/passwd"), "leads out", "log_path"),
        (container(log_path="/etc/passwd"), "leads out", "log_path"),
        (container(envs={"": "x"}), "environment", "envs"),
        (container(envs={"A=B": "x"}), "environment", "envs"),
        (container(envs={"A": "x\0y"}), "environment", "envs"),
        (container(security=ContainerSecurity(privileged=True)), "its pod is not", "security.privileged"),
        (
            container(security=ContainerSecurity(run_as_user=1, run_as_username="u")),
            "both run_as_user and run_as_username",
            "security.run_as_user",
        ),
        (container(security=ContainerSecurity(run_as_group=1)), "is set without", "security.run_as_group"),
        (container(security=ContainerSecurity(seccomp=SecurityProfile("localhost"))), "Localhost", "security.seccomp"),
        (
            container(security=ContainerSecurity(apparmor=SecurityProfile("unconfined", "x"))),
            "Localhost",
            "security.apparmor",
        ),
        (container(resources=Resources(cpu_quota=1)), "cpu_quota 1 is not valid", "resources.cpu_quota"),
        (container(mounts=(Mount("/a", "/h"), Mount("b", "/h"))), "not absolute", "mounts[1].container_path"),
        (container(mounts=(Mount("/m"),)), "either a host_path or an image", "mounts[0]"),
        (container(mounts=(Mount("/m", "/h", image="i"),)), "either a host_path or an image", "mounts[0]"),
        (
            container(mounts=(Mount("/m", "/h", recursive_read_only=True),)),
            "readonly and private",
            "mounts[0].recursive_read_only",
        ),
        (
            container(
                mounts=(
                    Mount(
                        "/m", "/h", readonly=True, recursive_read_only=True, propagation=PropagationMode.BIDIRECTIONAL
                    ),
                )
            ),
            "readonly and private",
            "mounts[0].recursive_read_only",
        ),
        (container(mounts=(Mount("/m", image="i"),)), "has to be read-only", "mounts[0].readonly"),
        (
            container(mounts=(Mount("/m", image="i", image_sub_path="a/..", readonly=True),)),
            "leads out",
            "mounts[0].image_sub_path",
        ),
    ],
)
def test_a_container_that_cannot_be_is_refused_by_its_field(config: ContainerConfig, said: str, field: str) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        check_container(config, pod())
    assert caught.value.field == field
    assert str(caught.value).startswith(f"container {config.metadata.name}: ")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (container(cdi_devices=("a.example/gpu=0",)), "cdi_devices"),
        (container(resources=Resources(hugepage_limits={"2MB": 4096})), "resources.hugepage_limits"),
        (container(security=ContainerSecurity(apparmor=SecurityProfile("localhost", "x"))), "security.apparmor"),
    ],
)
def test_what_no_machine_has_is_not_implemented(config: ContainerConfig, field: str) -> None:
    with pytest.raises(Unimplemented) as caught:
        check_container(config, pod())
    assert caught.value.field == field


def test_a_privileged_container_needs_no_profile_of_its_machine() -> None:
    security = ContainerSecurity(privileged=True, apparmor=SecurityProfile("localhost", "x"))
    check_container(container(security=security), pod(privileged=True))


def test_a_container_has_an_image_or_a_root_directory() -> None:
    check_container(container(image="", root="/srv/root"), pod())
    for root, image in (("", ""), ("/srv/root", "i")):
        with pytest.raises(InvalidArgument, match="image"):
            check_container(container(image=image, root=root), pod())


def test_an_update_is_held_to_the_same_limits() -> None:
    with pytest.raises(InvalidArgument, match="container c: memory_limit_in_bytes -1 is not valid"):
        check_update(container(), Resources(memory_limit=-1))
