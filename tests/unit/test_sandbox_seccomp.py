"""Seccomp profiles: what a profile in docker's form comes to for a container and a machine, and our default."""

import json
from pathlib import Path

import pytest

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import ContainerSecurity, SecurityProfile
from vmsandbox.sandbox import capabilities
from vmsandbox.sandbox.seccomp import Filtered, build, translate

X86 = Filtered("x86_64", "6.12.0+deb13-amd64", frozenset({"CAP_CHOWN"}))


def rules(*syscalls, of=X86):
    return translate({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(syscalls)}, of)["syscalls"]


def rule(**conditions):
    return {"names": ["mount"], "action": "SCMP_ACT_ALLOW", **conditions}


def test_a_profile_of_the_runtime_spec_stays_as_it_is():
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {
                "names": ["read", "write"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
            },
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        ],
    }
    assert translate(profile, X86) == profile


def test_names_of_one_and_notes_of_docker_s_form_become_the_runtime_spec_s():
    assert rules({"name": "mount", "action": "SCMP_ACT_ALLOW", "comment": "why", "args": None, "excludes": {}}) == [
        rule()
    ]


@pytest.mark.parametrize(
    ("conditions", "applies"),
    [
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"includes": {"arches": ["amd64", "x32"]}}, True),
        ({"includes": {"arches": ["s390x"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.12"}}, True),
        ({"includes": {"minKernel": "6.13"}}, False),
        ({"includes": {"minKernel": "10.0"}}, False),
        ({"includes": {"caps": ["CAP_CHOWN"], "arches": ["s390x"]}}, False),
        ({"includes": None, "excludes": None}, True),
    ],
)
def test_conditions_of_a_rule_are_decided_for_the_container_and_its_machine(conditions, applies):
    assert rules(rule(**conditions)) == ([rule()] if applies else [])


def test_the_architectures_are_those_of_the_machine():
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
    }
    assert translate(profile, X86)["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    arm = Filtered("aarch64", "6.12", frozenset())
    assert translate(profile, arm)["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]


@pytest.mark.parametrize(
    "profile",
    [
        [],
        {},
        {"defaultAction": 1},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": ["mount"]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"]}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(includes={"moon": "full"})]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(includes={"minKernel": "new"})]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 5},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(includes=5)]},
        {"defaultAction": "SCMP_ACT_ALLOW", "archMap": [5]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(excludes={"caps": 5})]},
    ],
)
def test_what_is_no_profile_is_refused(profile):
    with pytest.raises(InvalidArgument):
        translate(profile, X86)


def built(**security):
    return build(ContainerSecurity(**security), machine="x86_64", kernel="6.12")


def test_an_unconfined_or_privileged_container_has_no_filter():
    assert built(seccomp=SecurityProfile("unconfined")) is None
    assert built(privileged=True, seccomp=SecurityProfile("localhost", "/no/such/file")) is None


def test_a_localhost_profile_is_read_on_the_host(tmp_path: Path):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule()]}))
    assert built(seccomp=SecurityProfile("localhost", str(path)))["syscalls"] == [rule()]
    for content in ("{", "", "[" * 100_000):
        path.write_text(content)
        with pytest.raises(InvalidArgument, match=r"profile\.json cannot be read"):
            built(seccomp=SecurityProfile("localhost", str(path)))


def refused(*added: str) -> set[str]:
    """The system calls that the default profile refuses, whatever their arguments."""
    profile = built(seccomp=SecurityProfile("runtime_default"), add_capabilities=added)
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
    return {name for each in profile["syscalls"] if "args" not in each for name in each["names"]}


def test_the_default_profile_refuses_what_administers_the_machine_unless_that_was_granted():
    plain = refused()
    assert {"mount", "reboot", "bpf", "clone3", "keyctl", "init_module", "settimeofday"} <= plain
    assert not {"read", "ptrace", "chroot", "clone", "socket"} & plain
    assert {"mount", "clone3", "bpf"} <= plain - refused("SYS_ADMIN")
    assert {"bpf"} == plain - refused("BPF")
    assert {"keyctl", "io_uring_setup"} <= refused("ALL")
    assert set(capabilities.ALL) >= {"CAP_SYS_ADMIN", "CAP_BPF"}


def test_the_default_profile_refuses_new_namespaces_and_the_machine_s_vsock():
    profile = built(seccomp=SecurityProfile("runtime_default"))
    flags = {each["args"][0]["value"] for each in profile["syscalls"] if each["names"] == ["clone"]}
    assert sum(flags) == 0x7E020000
    (socket,) = (each for each in profile["syscalls"] if each["names"] == ["socket"])
    assert socket["args"] == [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]
