import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.golden import assert_golden
from vmsandbox.errors import InvalidArgument
from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    ContainerSecurity,
    ImageConfig,
    Mount,
    NamespaceMode,
    Namespaces,
    PropagationMode,
    Resources,
)
from vmsandbox.sandbox.spec import capabilities
from vmsandbox.sandbox.spec.container_mounts import MountSource
from vmsandbox.sandbox.spec.container_spec import SpecInputs, build_spec, build_user, command_line
from vmsandbox.sandbox.spec.signals import stop_signal

IMAGE = ImageConfig(
    user="www-data",
    env=("PATH=/bin", "LANG=C.UTF-8", "malformed"),
    entrypoint=("/entry",),
    cmd=("serve",),
    working_dir="/srv",
    stop_signal="SIGQUIT",
)
PLAIN = ContainerConfig(ContainerMetadata("web"), "localhost/web")


def spec(config=PLAIN, image=IMAGE, sources=(), seccomp=None):
    return build_spec(SpecInputs("c1", config, image, "pod-1", sources, seccomp))


def golden(name, built):
    assert_golden(Path("tests/unit/golden") / name, json.dumps(built, indent=2) + "\n")


def test_the_spec_of_a_plain_container():
    golden("spec-plain.json", spec())


def test_the_spec_of_a_container_with_everything():
    config = replace(
        PLAIN,
        args=("--port", "80"),
        working_dir="/work",
        envs={"LANG": "de_DE", "EMPTY": ""},
        tty=True,
        mounts=(
            Mount("/data/deep", host_path="/srv/deep", propagation=PropagationMode.HOST_TO_CONTAINER),
            Mount("/data", host_path="/srv/data", readonly=True),
            Mount("/etc/hosts", host_path="/srv/hosts"),
        ),
        resources=Resources(
            cpu_period=100_000, cpu_quota=50_000, cpu_shares=512, memory_limit=64 << 20, oom_score_adj=900,
            unified={"memory.oom.group": "1"},
        ),
        security=ContainerSecurity(
            drop_capabilities=("ALL",), add_capabilities=("net_admin",), add_ambient_capabilities=("CAP_NET_RAW",),
            run_as_user=1000, readonly_rootfs=True, no_new_privs=True,
            masked_paths=("/proc/kcore",), readonly_paths=("/proc/sys",),
        ),
    )  # fmt: skip
    sources = [MountSource(f"/share/{index}", readonly=index == 1) for index in range(3)]
    golden("spec-full.json", spec(config, sources=sources, seccomp={"defaultAction": "SCMP_ACT_ALLOW"}))


def test_the_spec_of_a_privileged_container():
    security = ContainerSecurity(privileged=True, masked_paths=("/proc/kcore",), no_new_privs=True)
    golden("spec-privileged.json", spec(replace(PLAIN, security=security)))


def mounts_of(config: ContainerConfig, image: ImageConfig) -> dict[str, str]:
    sources = [MountSource(f"/share/{index}", readonly=False) for index in range(len(config.mounts))]
    return {mount["destination"]: mount["source"] for mount in spec(config, image, sources)["mounts"]}


def test_a_volume_that_the_image_declares_is_mounted_where_the_container_has_none():
    image = replace(IMAGE, volumes=("/var/lib/data/", "/srv", "/srv/", "cache", "/"))
    mounts = mounts_of(replace(PLAIN, mounts=(Mount("/srv/", host_path="/x"),)), image)
    assert mounts["/srv"] == "/share/0"
    assert mounts["/cache"] == "/run/vmsandbox/scratch/c1/volumes/0"
    assert mounts["/var/lib/data"] == "/run/vmsandbox/scratch/c1/volumes/1"
    assert "/" not in mounts


def test_a_declared_volume_lies_within_a_volume_of_the_container_that_is_above_it():
    mounts = mounts_of(replace(PLAIN, mounts=(Mount("/data", host_path="/x"),)), replace(IMAGE, volumes=("/data/a",)))
    assert list(mounts)[-2:] == ["/data", "/data/a"]


def test_what_is_mounted_below_a_read_only_volume_stays_writable_but_where_another_volume_is():
    mounts = (Mount("/v", host_path="/x", readonly=True), Mount("/v/b", host_path="/y"))
    below = MountSource("/share/0", readonly=True, writable=("a", "b", "b/c", "d/e"))
    built = spec(replace(PLAIN, mounts=mounts), sources=(below, MountSource("/share/1", readonly=False)))["mounts"]
    assert {each["destination"]: (each["source"], each["options"][-1]) for each in built[-4:]} == {
        "/v": ("/share/0", "ro"),
        "/v/b": ("/share/1", "rw"),
        "/v/a": ("/share/0/a", "rw"),
        "/v/d/e": ("/share/0/d/e", "rw"),
    }
    assert [each["destination"] for each in built[-4:]].index("/v") == 0


def test_an_image_that_declares_too_many_volumes_is_refused():
    with pytest.raises(InvalidArgument, match="200 volumes"):
        mounts_of(PLAIN, replace(IMAGE, volumes=tuple(f"/{number}" for number in range(200))))


@pytest.mark.parametrize(
    ("command", "args", "line"),
    [
        ((), (), ("/entry", "serve")),
        ((), ("x",), ("/entry", "x")),
        (("/own",), (), ("/own",)),
        (("/own",), ("x",), ("/own", "x")),
    ],
)
def test_command_and_args_replace_entrypoint_and_cmd_as_kubernetes_says(command, args, line):
    assert command_line(replace(PLAIN, command=command, args=args), IMAGE) == line


def test_a_container_without_any_command_is_refused():
    with pytest.raises(InvalidArgument, match="container web: neither"):
        command_line(PLAIN, ImageConfig())


def test_a_user_of_the_container_stands_before_the_image_s():
    assert build_user(PLAIN, IMAGE).user == "www-data"
    chosen = replace(PLAIN, security=ContainerSecurity(run_as_user=0, run_as_group=5))
    assert (build_user(chosen, IMAGE).user, build_user(chosen, IMAGE).group) == ("0", "5")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("", 3), ("SIGTERM", 15), ("usr1", 10), ("9", 9), ("KILL", 9), ("SIGRTMIN+3", 37), ("RTMAX-1", 63),
        ("0", None), ("65", None), ("SIGRTMIN+31", None), ("SIGNOTHING", None),
    ],
)  # fmt: skip
def test_stop_signals_are_found_by_name_and_number(name, number):
    config = replace(PLAIN, stop_signal=name)
    if number is None:
        with pytest.raises(InvalidArgument, match="no signal"):
            stop_signal(config, IMAGE)
    else:
        assert stop_signal(config, IMAGE) == number


def test_an_unknown_capability_is_refused():
    with pytest.raises(InvalidArgument, match="CAP_FLY"):
        capabilities.build_capabilities(ContainerSecurity(add_capabilities=("fly",)))


def test_adding_all_and_dropping_one_leaves_the_others():
    sets = capabilities.build_capabilities(
        ContainerSecurity(add_capabilities=("ALL",), drop_capabilities=("SYS_ADMIN",))
    )
    assert set(capabilities.ALL) - set(sets["effective"]) == {"CAP_SYS_ADMIN"}


def namespaces(wanted):
    security = ContainerSecurity(namespaces=wanted)
    return [entry["type"] for entry in spec(replace(PLAIN, security=security))["linux"]["namespaces"]]


def test_a_container_has_namespaces_of_its_own_where_the_cri_says_so():
    assert namespaces(Namespaces()) == ["pid", "mount", "cgroup"]
    assert namespaces(Namespaces(pid=NamespaceMode.NODE)) == ["mount", "cgroup"]
    assert namespaces(Namespaces(ipc=NamespaceMode.CONTAINER)) == ["pid", "mount", "cgroup", "ipc"]


def test_a_container_with_its_own_ipc_has_its_own_shared_memory():
    security = ContainerSecurity(namespaces=Namespaces(ipc=NamespaceMode.CONTAINER))
    (shm,) = (m for m in spec(replace(PLAIN, security=security))["mounts"] if m["destination"] == "/dev/shm")
    assert shm["type"] == "tmpfs"


def test_a_mount_is_read_only_all_the_way_down_where_it_is_asked_for():
    config = replace(PLAIN, mounts=(Mount("/data", host_path="/srv", readonly=True, recursive_read_only=True),))
    built = spec(config, sources=(MountSource("/share/0", readonly=True),))
    assert built["mounts"][-1]["options"] == ["rbind", "rprivate", "rro"]


def test_the_guests_root_propagates_what_a_volume_wants_propagated():
    mounts = (Mount("/a", "/a", propagation=PropagationMode.HOST_TO_CONTAINER), Mount("/b", "/b"))
    sources = (MountSource("/share/0", readonly=False), MountSource("/share/1", readonly=False))
    assert spec(replace(PLAIN, mounts=mounts), sources=sources)["linux"]["rootfsPropagation"] == "rslave"
    assert "rootfsPropagation" not in spec()["linux"]
