"""Advice for the host, from trees that look like its /proc and /sys."""

from pathlib import Path

import pytest

from vmsandbox.model import Finding
from vmsandbox.node.check import advice, versions
from vmsandbox.node.check.versions import judge, parse

SWAPS = "Filename Type Size Used Priority\n"


def host(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.fixture(autouse=True)
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none() -> tuple[Finding, ...]:
        return ()

    monkeypatch.setattr(advice, "look_at_versions", none)


async def notes(root: Path) -> list[str]:
    """The findings with which the host could do better, in words."""
    return [finding.message for finding in await advice.look(root) if finding.hint]


WELL = {
    "sys/devices/system/cpu/smt/active": "0\n",
    "sys/kernel/mm/ksm/run": "0\n",
    "proc/sys/kernel/unprivileged_userns_clone": "0\n",
    "proc/sys/kernel/dmesg_restrict": "1\n",
    "proc/sys/kernel/kptr_restrict": "2\n",
    "proc/swaps": SWAPS,
    "sys/module/kvm_intel/parameters/ept": "Y\n",
    "sys/module/kvm/parameters/ignore_msrs": "N\n",
    "sys/devices/system/cpu/vulnerabilities/meltdown": "Mitigation: PTI\n",
    "sys/devices/system/cpu/vulnerabilities/srbds": "Not affected\n",
}


async def test_a_host_that_does_all_of_it_is_told_so(tmp_path: Path) -> None:
    found = await advice.look(host(tmp_path, WELL))
    assert len(found) == len(WELL) - 1
    assert all(finding.ok and not finding.hint for finding in found)


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("sys/devices/system/cpu/smt/active", "1\n", "SMT is on"),
        ("sys/kernel/mm/ksm/run", "1\n", "KSM merges equal pages"),
        ("proc/sys/kernel/unprivileged_userns_clone", "1\n", "user namespaces"),
        ("proc/sys/kernel/dmesg_restrict", "0\n", "reads the kernel's log"),
        ("proc/sys/kernel/kptr_restrict", "0\n", "addresses of the kernel"),
        ("proc/swaps", f"{SWAPS}/dev/sda2 partition 1 0 -2\n", "may be written to /dev/sda2"),
        ("sys/module/kvm_intel/parameters/ept", "N\n", "EPT"),
        ("sys/module/kvm_amd/parameters/npt", "0\n", "NPT"),
        ("sys/module/kvm/parameters/ignore_msrs", "Y\n", "registers"),
        ("sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable; SMT vulnerable\n", "mds is open: Vulnerable"),
        ("sys/devices/system/cpu/vulnerabilities/l1tf", "Mitigation: PTE; VMX: vulnerable\n", "l1tf is open"),
        ("sys/devices/system/cpu/vulnerabilities/itlb_multihit", "KVM: Vulnerable\n", "itlb_multihit is open"),
    ],
)
async def test_each_thing_that_could_be_better_is_a_note_and_no_failure(
    tmp_path: Path, path: str, content: str, said: str
) -> None:
    root = host(tmp_path, {**WELL, path: content})
    (note,) = await notes(root)
    assert said in note
    assert all(finding.ok for finding in await advice.look(root))


async def test_of_what_a_host_does_not_have_nothing_is_said(tmp_path: Path) -> None:
    assert await advice.look(tmp_path) == ()


async def test_files_that_cannot_be_read_as_text_are_not_a_failure(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_bytes(b"\xff\xfe\n/swap\xff file 1 0 -2\n")
    assert len(await notes(tmp_path)) == 1


@pytest.mark.parametrize(
    ("program", "version", "holes"),
    [
        ("skopeo", (1, 9, 3), 1),
        ("skopeo", (1, 14, 3), 1),
        ("skopeo", (1, 14, 4), 0),
        ("skopeo", (1, 15, 0), 1),
        ("skopeo", (1, 15, 1), 0),
        ("skopeo", (1, 18, 0), 0),
        ("skopeo", (2, 0), 0),
        ("qemu-system-x86_64", (7, 2, 10), 1),
        ("qemu-system-x86_64", (7, 2, 22), 0),
        ("qemu-system-x86_64", (8, 1, 9), 1),
        ("qemu-system-x86_64", (10, 0, 3), 0),
    ],
)
def test_versions_with_known_holes_are_named_in_every_series(
    program: str, version: versions.Version, holes: int
) -> None:
    assert sum(bool(finding.hint) for finding in judge(program, version)) == holes
    assert all(finding.ok for finding in judge(program, version))


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("skopeo version 1.9.3\n", (1, 9, 3)),
        ("skopeo version 1.18.0-dev commit: abc\n", (1, 18, 0)),
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright\n", (7, 2, 22)),
        ("no number", ()),
    ],
)
def test_a_version_is_read_from_what_a_program_prints(printed: str, version: versions.Version) -> None:
    assert parse(printed) == version
