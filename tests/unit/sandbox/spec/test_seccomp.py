"""Seccomp profiles: what a profile comes to for a container and a machine, and RuntimeDefault."""

import json
from pathlib import Path

import pytest

from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.model import ContainerSecurity, SecurityProfile
from vmsandbox.sandbox.spec import seccomp
from vmsandbox.sandbox.spec.seccomp import Filtered, build_seccomp, translate_seccomp

X86 = Filtered("x86_64", "6.12.0+deb13-amd64", frozenset({"CAP_CHOWN"}))


def rules(*syscalls, of=X86):
    return translate_seccomp({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(syscalls)}, of)["syscalls"]


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
    assert translate_seccomp(profile, X86) == profile


def test_names_of_one_and_notes_of_docker_s_form_become_the_runtime_spec_s():
    assert rules({"name": "mount", "action": "SCMP_ACT_ALLOW", "comment": "why", "args": None, "excludes": {}}) == [
        rule()
    ]


@pytest.mark.parametrize(
    ("conditions", "applies"),
    [
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
        ({"includes": {"caps": []}}, True),
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
        ({"includes": {"arches": []}, "excludes": {"caps": [], "arches": []}}, True),
    ],
)
def test_conditions_of_a_rule_are_decided_for_the_container_and_its_machine(conditions, applies):
    assert rules(rule(**conditions)) == ([rule()] if applies else [])


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ({"errno": "ENOSYS"}, 38),
        ({"errno": "38"}, 38),
        ({"errno": "EPERM", "errnoRet": 38}, 1),
        ({"errno": "", "errnoRet": 38}, 38),
        ({"errnoRet": 0}, 0),
    ],
)
def test_an_error_has_a_name_or_a_number(said, number):
    assert rules({**rule(action="SCMP_ACT_ERRNO"), **said}) == [rule(action="SCMP_ACT_ERRNO", errnoRet=number)]


def test_the_default_error_has_a_name_or_a_number():
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "defaultErrnoRet": 1}
    assert translate_seccomp(profile, X86)["defaultErrnoRet"] == 38


def test_the_architectures_are_those_of_the_machine():
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
    }
    assert translate_seccomp(profile, X86)["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    arm = Filtered("aarch64", "6.12", frozenset())
    assert translate_seccomp(profile, arm)["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]


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
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(errno="errorcode")]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(errno=5)]},
        {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrno": "EMOON"},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 5},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(includes=5)]},
        {"defaultAction": "SCMP_ACT_ALLOW", "archMap": [5]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(excludes={"caps": 5})]},
    ],
)
def test_a_file_that_is_not_a_profile_is_refused(profile):
    with pytest.raises(InvalidArgument):
        translate_seccomp(profile, X86)


def built(**security):
    return build_seccomp(ContainerSecurity(**security), machine="x86_64", kernel="6.12")


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


def default(*added: str, **other):
    return built(seccomp=SecurityProfile("runtime_default"), add_capabilities=added, **other)


def allowed(*added: str) -> set[str]:
    """The system calls that RuntimeDefault allows, whatever their arguments."""
    rules = (each for each in default(*added)["syscalls"] if each["action"] == "SCMP_ACT_ALLOW")
    return {name for each in rules if "args" not in each for name in each["names"]}


def test_runtime_default_is_the_profile_of_containers_common_for_the_container_and_its_machine():
    profile = default()
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["defaultErrnoRet"] in (1, 38)
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert {"read", "execve", "openat", "arch_prctl", "chroot"} <= allowed()
    assert not {"kexec_load", "bpf", "init_module", "settimeofday", "s390_pci_mmio_read"} & allowed()
    assert {"bpf", "fanotify_init"} <= allowed("SYS_ADMIN") - allowed()
    assert {"init_module"} <= allowed("SYS_MODULE") - allowed()
    assert set(profile) == {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}
    assert {key for each in profile["syscalls"] for key in each} == {"names", "action", "errnoRet", "args"}


def test_runtime_default_refuses_a_call_without_its_capability_by_the_errno_that_it_names():
    (refusal,) = (each for each in default()["syscalls"] if "init_module" in each["names"])
    assert (refusal["action"], refusal["errnoRet"]) == ("SCMP_ACT_ERRNO", 1)


def test_a_host_without_the_profile_of_runtime_default_says_which_package_to_install(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(seccomp, "RUNTIME_DEFAULT", tmp_path / "seccomp.json")
    with pytest.raises(FailedPrecondition, match=r"RuntimeDefault: .*/seccomp\.json cannot be read: No such") as caught:
        default()
    assert "golang-github-containers-common" in caught.value.hint
    with pytest.raises(FailedPrecondition):
        seccomp.find_default_seccomp()
    assert default(privileged=True) is None


def test_a_profile_of_runtime_default_that_is_not_valid_is_named(monkeypatch, tmp_path: Path):
    path = tmp_path / "seccomp.json"
    monkeypatch.setattr(seccomp, "RUNTIME_DEFAULT", path)
    path.write_text("[]")
    with pytest.raises(InvalidArgument, match=r"profile .*/seccomp\.json: a seccomp profile is a JSON object"):
        default()


def test_the_profile_of_runtime_default_may_be_a_link(monkeypatch, tmp_path: Path):
    link = tmp_path / "seccomp.json"
    link.symlink_to(seccomp.RUNTIME_DEFAULT)
    monkeypatch.setattr(seccomp, "RUNTIME_DEFAULT", link)
    assert str(link) in seccomp.find_default_seccomp()
