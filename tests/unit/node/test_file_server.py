"""Which virtiofsd is taken, and with what it is started; programs that say versions stand for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmsandbox.config import Config
from vmsandbox.errors import FailedPrecondition
from vmsandbox.node import file_server
from vmsandbox.node.check import findings
from vmsandbox.node.file_server import OPTIONS, FileServer, find, launcher, may_serve

RUST = "virtiofsd 1.13.2"
C = "virtiofsd version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) 2003-2022 Fabrice Bellard and others"
OLD = "virtiofsd 1.10.1"
CAP_DAC_OVERRIDE = 1


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, ...]:
    made = tuple(tmp_path / name / "virtiofsd" for name in ("cache", "libexec", "qemu"))
    monkeypatch.setattr(file_server, "PLACES", made)
    return made


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ((RUST, RUST, C), 0),
        (("", RUST, C), 1),
        ((OLD, "virtiofsd 1.14.0", C), 1),
        (("", OLD, C), 2),
        (("", C, ""), 1),
    ],
)
async def test_the_best_of_the_host_is_taken(places: tuple[Path, ...], said: tuple[str, ...], taken: int) -> None:
    for place, says in zip(places, said, strict=True):
        if says:
            program(place, says)
    found = await find(Config())
    assert found.program == places[taken]
    assert found.is_rust == (said[taken] != C)
    assert found.version in said[taken]


async def test_a_program_that_fails_or_is_another_is_left_out(places: tuple[Path, ...]) -> None:
    program(places[0], RUST).write_text("#!/bin/sh\necho version GLIBC_2.39 not found >&2; exit 1\n")
    program(places[1], "nginx 1.26.3")
    program(places[2], C)
    assert (await find(Config())).program == places[2]


async def test_a_host_without_any_hears_what_to_install(places: tuple[Path, ...]) -> None:
    with pytest.raises(FailedPrecondition, match="there is no virtiofsd") as caught:
        await find(Config())
    assert "make setup" in caught.value.hint
    assert all(str(place) in str(caught.value) for place in places)
    assert not caught.value.evidence


async def test_one_that_is_there_and_of_no_use_says_why(places: tuple[Path, ...]) -> None:
    program(places[0], RUST).write_text("#!/bin/sh\necho version GLIBC_2.39 not found >&2; exit 1\n")
    with pytest.raises(FailedPrecondition, match="there is no virtiofsd") as caught:
        await find(Config())
    assert caught.value.evidence.keys() == {str(places[0])}
    assert "GLIBC_2.39" in caught.value.report()


def test_a_process_that_may_make_set_user_id_files_may_serve_volumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert may_serve(tmp_path)

    def refuse(descriptor: int, mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr("os.fchmod", refuse)
    assert not may_serve(tmp_path)
    assert not list(tmp_path.iterdir())


async def test_the_configured_one_is_taken_before_all_others(places: tuple[Path, ...], tmp_path: Path) -> None:
    program(places[0], RUST)
    configured = program(tmp_path / "mine", C)
    assert await find(Config(virtiofsd=configured)) == FileServer(configured, "7.2.22", is_rust=False)


@pytest.mark.parametrize("says", [OLD, "GNU bash, version 5.2.15"])
async def test_a_configured_one_that_will_not_do_is_an_error(tmp_path: Path, says: str) -> None:
    with pytest.raises(FailedPrecondition, match=r"needs virtiofsd 1\.13 or later"):
        await find(Config(virtiofsd=program(tmp_path / "mine", says)))


async def test_a_configured_one_that_is_not_there_is_an_error(places: tuple[Path, ...], tmp_path: Path) -> None:
    program(places[0], RUST)
    with pytest.raises(FailedPrecondition, match="nowhere"):
        await find(Config(virtiofsd=tmp_path / "nowhere"))


def test_the_one_in_rust_is_started_with_our_options_after_those_of_libvirt(tmp_path: Path) -> None:
    server = tmp_path / "a program's" / "virtiofsd"
    program(server, "").write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    script = launcher(FileServer(server, "1.13.2", is_rust=True), tmp_path)
    started = subprocess.run([script, "--fd=27", "-o", "source=/run/a b"], check=True, capture_output=True, text=True)
    assert started.stdout.splitlines() == [str(server), "--fd=27", "-o", "source=/run/a b", *OPTIONS]
    assert script.name == "virtiofsd"
    assert script.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="the capabilities of root are meant")
def test_it_keeps_its_capabilities_as_another_user(tmp_path: Path) -> None:
    """Root of a user namespace is such a user, and makes files where the namespace's other users may not."""
    server, directory = program(tmp_path / "virtiofsd", ""), tmp_path / "made"
    directory.mkdir()
    server.write_text(f"#!{sys.executable}\nimport os; os.seteuid(1)\nprint(open('/proc/self/status').read())\n")
    script = launcher(FileServer(server, "1.13.2", is_rust=True), directory)
    said = subprocess.run([script], check=True, capture_output=True, text=True).stdout
    [effective] = [int(line.split()[1], 16) for line in said.splitlines() if line.startswith("CapEff:")]
    assert effective & 1 << CAP_DAC_OVERRIDE


def test_the_script_of_before_is_replaced(tmp_path: Path) -> None:
    before = launcher(FileServer(Path("/one"), "1.13.2", is_rust=True), tmp_path).read_text()
    after = launcher(FileServer(Path("/two"), "1.13.2", is_rust=True), tmp_path).read_text()
    assert "/one" in before and "/one" not in after and "/two" in after


def test_qemus_is_started_by_libvirt_itself(tmp_path: Path) -> None:
    assert launcher(FileServer(Path("/qemu/virtiofsd"), "7.2.22", is_rust=False), tmp_path) == Path("/qemu/virtiofsd")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("says", "lacks"), [(RUST, False), (C, True)])
async def test_check_says_what_qemus_lacks(places: tuple[Path, ...], says: str, lacks: bool) -> None:
    program(places[0], says)
    finding = await findings._volumes(Config())
    assert finding.ok and str(places[0]) in finding.message
    assert ("supplementary groups (fsGroup) create no files" in finding.message) == lacks
    assert bool(finding.hint) == lacks


async def test_check_fails_without_any(places: tuple[Path, ...]) -> None:
    assert not (await findings._volumes(Config())).ok
