"""Requests to the daemon, the mounts of a root, and figures: pure functions."""

from pathlib import Path
from typing import Any

import pytest
from cri_api.v1 import api_pb2

from tests.fakes.measures import measures
from tests.unit.oci.configs import config, namespaces
from vmsandbox.containerd.messages import types_of
from vmsandbox.containerd.metrics import metrics_from, summed
from vmsandbox.containerd.roots import mount_command
from vmsandbox.containerd.specs import container_config, pod_config, pod_files
from vmsandbox.errors import Unimplemented
from vmsandbox.model import ContainerUsage, NamespaceMode, PodSandboxMetadata
from vmsandbox.oci.from_oci import from_oci, pod_from_oci
from vmsandbox.oci.membership import membership
from vmsandbox.oci.pods import Place
from vmsandbox.oci.stats import stats_from

NAME = PodSandboxMetadata("s1", "/root", "oci")


def pod(**linux: Any) -> api_pb2.PodSandboxConfig:
    return api_pb2.PodSandboxConfig(metadata={"name": "web"}, annotations={"vmsandbox/handler": "small"}, linux=linux)


def test_a_pod_has_a_machine_that_its_caller_ends() -> None:
    limits = {"cpu_period": 100000, "cpu_quota": 50000, "memory_limit_in_bytes": 64 << 20}
    wanted = pod(cgroup_parent="/kubepods/pod1", sysctls={"net.core.somaxconn": "99"}, resources=limits)
    made = pod_from_oci(NAME, pod_config(wanted, "/run/netns/one"))
    assert (made.metadata, made.hostname, made.lasting) == (NAME, "web", True)
    assert (made.network_namespace, made.late_network) == ("/run/netns/one", False)
    assert (made.cgroup_parent, made.runtime_handler) == ("/kubepods/pod1", "small")
    assert made.resources.memory_limit == 64 << 20 and made.resources.cpu_quota == 50000
    assert made.sysctls == {"net.core.somaxconn": "99"}


@pytest.mark.parametrize("kind", ["network", "pid", "ipc"])
def test_a_pod_cannot_have_namespaces_of_the_node(kind: str) -> None:
    options = {kind: api_pb2.NODE}
    wanted = pod(security_context={"namespace_options": options})
    with pytest.raises(Unimplemented, match=f"the host's {kind} namespace"):
        pod_from_oci(NAME, pod_config(wanted, "" if kind == "network" else "/run/netns/one"))


def test_a_pod_cannot_have_users_of_its_own() -> None:
    wanted = pod(security_context={"namespace_options": {"userns_options": {"mode": api_pb2.POD}}})
    with pytest.raises(Unimplemented, match="user namespace"):
        pod_from_oci(NAME, pod_config(wanted, "/run/netns/one"))


def test_a_container_is_in_the_pod_that_containerd_names() -> None:
    linux = config()["linux"] | {"namespaces": namespaces("mount", "pid", network="/proc/7/ns/net")}
    made = container_config(
        config(linux=linux), "s1", "/run/netns/one", "/kept/root", {"/etc/hosts": "/x", "/dev/shm": "/y"}
    )
    assert membership("c1", made["annotations"]).pod == "s1"
    assert made["root"]["path"] == "/kept/root" and made["linux"]["cgroupsPath"] == ""
    assert {"type": "network", "path": "/run/netns/one"} in made["linux"]["namespaces"]
    assert {"type": "pid"} in made["linux"]["namespaces"]
    assert made["mounts"] == config()["mounts"]  # it has mounts of its own at both


def test_containers_of_a_pod_that_shares_processes_see_each_other() -> None:
    kinds = namespaces("mount", pid="/of", network="/of", ipc="/of", uts="/of")
    wanted = config(linux=config()["linux"] | {"namespaces": kinds, "sysctl": {}})
    status: Any = type("Status", (), {"config": pod_from_oci(NAME, pod_config(pod(), "/run/netns/one"))})
    place = Place(NAME, status, frozenset({"pid", "network", "ipc", "uts"}))
    assert from_oci(place, "c1", "/b", wanted).container.security.namespaces.pid is NamespaceMode.POD


def test_the_files_of_a_pod_have_its_name_and_its_resolvers() -> None:
    wanted = pod()
    wanted.dns_config.MergeFrom(api_pb2.DNSConfig(servers=["10.0.0.10"], searches=["a", "b"], options=["ndots:5"]))
    files = pod_files(wanted)
    assert files["/etc/resolv.conf"] == "nameserver 10.0.0.10\nsearch a b\noptions ndots:5\n"
    assert files["/etc/hostname"] == "web\n" and "web" in files["/etc/hosts"]


def test_layers_are_named_from_the_directory_that_they_share() -> None:
    options = ["workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"]
    command = mount_command("overlay", "overlay", options, Path("/kept/root"))
    assert command[:2] == ["env", "--chdir=/s"] and command[-2:] == ["overlay", "/kept/root"]
    assert "workdir=/s/3/work,upperdir=/s/3/fs,lowerdir=2/fs:1/fs" in command


def test_a_root_of_one_layer_is_a_bind() -> None:
    command = mount_command("bind", "/s/1/fs", ["rbind", "rw"], Path("/kept/root"))
    assert command == ["env", "--chdir=/", "mount", "-t", "bind", "-o", "rbind,rw", "--", "/s/1/fs", "/kept/root"]


def test_figures_of_a_pod_are_those_of_its_containers() -> None:
    one = metrics_from(stats_from(ContainerUsage(0, measures("c1"))))
    assert one.cpu.usage_usec and one.memory.usage
    assert summed([one, one]).memory.usage == 2 * one.memory.usage


def test_a_call_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        types_of("containerd.task.v3.Task", "Checkpoint")
