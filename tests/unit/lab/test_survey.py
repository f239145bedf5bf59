"""The table of hosts, and which host is the least busy."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.lab import REACH, FakeHosts, host
from tests.support.lab_checkout import CHECK
from vmsandbox.errors import InvalidArgument, Unavailable
from vmsandbox.lab import COLUMNS, Fleet, LabHost, Outcome, Surveyed, least_busy, plain, row
from vmsandbox.lab.fleet import HostContext
from vmsandbox.lab.installation import Installed
from vmsandbox.lab.remote import facts as program
from vmsandbox.lab.survey import Facts, accelerator_in, facts_of
from vmsandbox.lab.text import LastLine

FACTS = Facts("6.1.0", "x86_64", "Debian", 4, 1.0, 8 << 30, 4 << 30, 2, True, "yes", False, True)
ALPHA = host("alpha", Path("/nowhere/lab"))


def cells(outcome: Outcome[Surveyed]) -> dict[str, str]:
    return dict(zip(COLUMNS, row(outcome), strict=True))


def test_a_host_that_is_ready_shows_what_works_there() -> None:
    shown = cells(Outcome(ALPHA, 1.0, Surveyed(FACTS, Installed("abc", True), "KVM 1.5s", ())))
    assert shown == {
        "HOST": "alpha", "VERSION": "abc", "CHECK": "ok", "ACCELERATOR": "KVM 1.5s", "KVM": "yes", "NESTING": "yes",
        "VIRTUAL": "no", "VSOCK": "kernel", "CGROUP": "v2", "CPUS": "4", "MEMORY": "8Gi", "LOAD": "1.0",
        "KERNEL": "6.1.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("surveyed", "version", "check", "accelerator"),
    [
        (Surveyed(FACTS, None, "", ()), "none", "not installed", "not tried"),
        (Surveyed(FACTS, Installed("abc", False), "", ()), "broken", "not installed", "not tried"),
        (Surveyed(FACTS, Installed("abc", True), "", ("a", "b")), "abc", "2 missing", "none"),
    ],
)
def test_what_is_missing_is_said_in_the_table(surveyed: Surveyed, version: str, check: str, accelerator: str) -> None:
    shown = cells(Outcome(ALPHA, 1.0, surveyed))
    assert (shown["VERSION"], shown["CHECK"], shown["ACCELERATOR"]) == (version, check, accelerator)


def test_a_host_without_an_answer_has_a_line_all_the_same() -> None:
    shown = cells(Outcome(ALPHA, 1.0, error=Unavailable("gone")))
    assert (shown["HOST"], shown["CHECK"], shown["KERNEL"]) == ("alpha", "no answer", "-")


def test_the_accelerator_is_the_one_that_a_machine_booted_under() -> None:
    assert accelerator_in(CHECK) == "TCG 9.5s"
    assert accelerator_in([{"title": "libvirt", "findings": [{"ok": False, "message": "no", "hint": ""}]}]) == ""


def test_the_less_busy_host_has_less_load_for_each_cpu_and_then_more_memory() -> None:
    busy = replace(FACTS, load=8.0)
    large = replace(FACTS, cpus=16, load=8.0)
    roomy = replace(FACTS, load=1.1, available=6 << 30)
    assert sorted([busy, FACTS, large, roomy], key=lambda facts: facts.busy) == [roomy, FACTS, large, busy]


def test_a_host_that_is_not_ready_runs_no_pod(tmp_path: Path) -> None:
    def ready(name: str) -> LabHost:
        version = tmp_path / name / "versions/v"
        version.mkdir(parents=True)
        (version / ".lab-ready").touch()
        (tmp_path / name / "current").symlink_to("versions/v")
        return host(name, tmp_path / name)

    fleet = Fleet(REACH, FakeHosts(gone=Unavailable("it is gone")).dial, lambda *_: None)
    bare, gone = host("bare", tmp_path / "bare"), host("gone", tmp_path / "gone")
    assert least_busy(fleet, [bare, gone, ready("alpha")]).name == "alpha"
    with pytest.raises(Unavailable) as raised:
        least_busy(fleet, [bare, gone])
    assert raised.value.evidence["hosts"] == "bare: vmsandbox is not installed there\ngone: it is gone"


def test_facts_that_are_not_what_the_program_prints_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said = program.facts(Path("/"))
    monkeypatch.setattr(HostContext, "program", lambda *_, **__: json.dumps(said).encode())
    context = HostContext(ALPHA, None, None, lambda *_: None)
    assert facts_of(context).cgroup in (1, 2)
    said["kernel"] = "6.1\x1b[2J"
    assert facts_of(context).kernel == "6.1"
    said["cpus"] = "many"
    with pytest.raises(InvalidArgument, match=r"facts:1: cpus: expected an integer"):
        facts_of(context)


def test_facts_come_from_the_files_of_the_host(tmp_path: Path) -> None:
    for path, text in {
        "proc/meminfo": "MemTotal:  2048 kB\nMemAvailable: 1024 kB\nHugePages_Total: 0\n",
        "proc/loadavg": "1.25 2.0 3.0 1/100 1000\n",
        "proc/cpuinfo": "flags : fpu hypervisor vmx\n",
        "etc/os-release": 'NAME=x\nPRETTY_NAME="Debian GNU/Linux 13"\n',
        "sys/fs/cgroup/cgroup.controllers": "cpu",
        "sys/module/kvm_amd/parameters/nested": "1\n",
        "dev/vhost-vsock": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = program.facts(tmp_path)
    assert found | {"kernel": 0, "architecture": 0, "cpus": 0} == {
        "kernel": 0, "architecture": 0, "cpus": 0, "system": "Debian GNU/Linux 13", "load": 1.25, "memory": 2048 * 1024,
        "available": 1024 * 1024, "cgroup": 2, "kvm": False, "nesting": "yes", "virtual": True, "vsock": True,
    }  # fmt: skip
    empty = program.facts(tmp_path / "nothing")
    assert (empty["nesting"], empty["cgroup"], empty["memory"]) == ("unknown", 1, 0)


def test_what_a_host_prints_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[6nb\x1b]0;title\x07c\x9b2Jd\te\rf") == "abc2Jd\tef"
    last = LastLine()
    for piece in (b"one\n10 %\r20 %\r", b"tw", b"o\x1b[K", b"\n\n"):
        last.add(piece)
    assert last.text == "two"
    last.add(b"tar: Exiting with failure status due to previous errors\n")
    assert last.text == "two"
    last.add(b"make[1]: *** [Makefile:8: setup] Error 1\nmake: *** [Makefile:8: setup] Error 2\n")
    assert last.text == "two"
