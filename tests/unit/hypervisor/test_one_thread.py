"""The program that has QEMU emulate all vCPUs in one thread."""

import subprocess
from pathlib import Path

from vmsandbox.hypervisor import Accelerator
from vmsandbox.hypervisor.libvirt.one_thread import launcher, races


def test_emulated_vcpus_of_a_qemu_that_is_too_old_race() -> None:
    assert races(Accelerator.TCG, 7_002_022) and races(Accelerator.TCG, 8_000_005)
    assert not races(Accelerator.TCG, 8_001_000) and not races(Accelerator.TCG, 10_000_002)
    assert not races(Accelerator.KVM, 7_002_022)


def test_the_program_becomes_qemu_whose_emulation_has_one_thread(tmp_path: Path) -> None:
    qemu = tmp_path / "a QEMU"
    qemu.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    qemu.chmod(0o755)
    script = launcher(str(qemu), tmp_path / "programs")
    given = ["-name", "guest=a b,tcg", "-accel", "tcg,tb-size=256", "-machine", "none,accel=kvm:tcg", "-x", "", "$(y)"]
    printed = subprocess.run([str(script), *given], capture_output=True, text=True, check=True).stdout
    assert printed.split("\n")[:-1] == [*given[:3], "tcg,tb-size=256,thread=single", *given[4:]]
    assert "thread=single" in subprocess.check_output([str(script), "-accel", "tcg"], text=True)


def test_the_program_is_for_everybody_and_stays_as_it_is(tmp_path: Path) -> None:
    script = launcher("/usr/bin/qemu-system-x86_64", tmp_path / "programs")
    before = script.stat()
    assert before.st_mode & 0o777 == 0o755 and script.parent.stat().st_mode & 0o777 == 0o711
    assert launcher("/usr/bin/qemu-system-x86_64", tmp_path / "programs").stat().st_ino == before.st_ino
    assert launcher("/usr/bin/other", tmp_path / "programs").read_text() != "" and script.stat().st_ino != before.st_ino
