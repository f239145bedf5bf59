"""The prober's conclusions from machines that answer, die and hang, and its memory."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.transport import UnixTransport
from tests.support.waiting import until
from vmsandbox.claims import MachineUsers, UserRange
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.hypervisor import Accelerator, GuestImage, MachineSpec
from vmsandbox.node.accelerators import attempts
from vmsandbox.node.accelerators.probe import Prober
from vmsandbox.process import Account

DEADLINES = {Accelerator.KVM: 0.3, Accelerator.TCG: 0.5}


class Host:
    """A host whose machines work, die or hang, by accelerator; and which counts how often one is tried."""

    def __init__(self, directory: Path, agent: UnixTransport) -> None:
        self.hypervisor = self.Hypervisor(self)
        self.transports = self.Transports(agent)
        self.directory = directory
        self.behaviour = dict.fromkeys(Accelerator, "works")
        self.tried: list[Accelerator] = []
        self.image = GuestImage(*(directory / name for name in ("kernel", "initramfs", "root")), "quiet", "build")
        for path in (self.image.kernel, self.image.initramfs, self.image.root):
            path.touch()

    def prober(self) -> Prober:
        """A prober of a new process."""
        return Prober(
            self.hypervisor,
            self.transports,  # type: ignore[arg-type]
            self.image,
            self.directory / "run",
            self.directory / "state",
            users=UserRange(self.directory / "users", range(1_800_003_000, 1_800_003_004), 0),
            deadlines=DEADLINES,
        )

    class Hypervisor(FakeHypervisor):
        def __init__(self, host: "Host") -> None:
            super().__init__()
            self._host = host
            self.release = "fake 1.0"

        async def create(self, spec: MachineSpec) -> None:
            self._host.tried.append(spec.accelerator)
            behaviour = self._host.behaviour[spec.accelerator]
            if behaviour == "does not start":
                raise FailedPrecondition("QEMU did not start: MSR 0x10a", evidence={"QEMU": "assertion failed"})
            await super().create(spec)
            assert spec.secret is not None
            spec.secret.symlink_to(self._host.directory / "agent/secret")
            self._host.transports.way.broken = None if behaviour == "works" else Unavailable("nobody listens")  # type: ignore[assignment]
            if behaviour == "panics":
                self.panic(spec.name)

        async def version(self) -> str:
            return self.release

    class Transports:
        def __init__(self, way: UnixTransport) -> None:
            self.way = way
            self.held: set[str] = set()

        async def start(self, sandbox_id: str, directory: Path, users: MachineUsers) -> UnixTransport:
            assert sandbox_id not in self.held and directory.parent.is_dir()
            self.held.add(sandbox_id)
            return self.way

        def stop(self, sandbox_id: str, directory: Path) -> None:
            self.held.discard(sandbox_id)

    def nothing_is_left(self) -> bool:
        files = [*self.directory.glob("run/probe"), *self.directory.glob("users/[0-9]*")]
        return not (self.hypervisor.machines or self.transports.held or files)


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(attempts, "_KVM", tmp_path / "kvm")
    (tmp_path / "agent").mkdir()
    async with FakeAgent(tmp_path / "agent"):
        host = Host(tmp_path, UnixTransport(tmp_path / "agent"))
        yield host
        assert host.nothing_is_left()


async def test_kvm_is_chosen_where_it_runs_a_guest(host: Host) -> None:
    for choice in ("auto", "kvm"):
        assert await host.prober().choose(choice) is Accelerator.KVM
    assert host.tried == [Accelerator.KVM], "it is remembered"


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ("does not start", "QEMU did not start: MSR 0x10a"),
        ("panics", "the virtual machine ended: crashed (panicked)"),
        ("hangs", "did not answer within 0.3 s"),
    ],
)
async def test_tcg_is_chosen_where_kvm_runs_none_with_one_warning(
    host: Host, behaviour: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    host.behaviour[Accelerator.KVM] = behaviour
    with caplog.at_level(logging.INFO):
        for prober in (host.prober(), host.prober()):  # of two processes: what they know is of this boot of the host
            assert await prober.choose("auto") is Accelerator.TCG
            assert await prober.choose("auto") is Accelerator.TCG
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "machines are emulated" in warnings[0] and len(warnings[0]) < 100
    assert [record for record in caplog.records if why in record.getMessage()]
    assert host.tried == [Accelerator.KVM]


async def test_kvm_that_is_asked_for_and_runs_no_guest_is_an_error(host: Host) -> None:
    host.behaviour[Accelerator.KVM] = "does not start"
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match="MSR 0x10a") as caught:
            await host.prober().choose("kvm")
        assert "assertion failed" in caught.value.report()
    assert host.tried == [Accelerator.KVM]


async def test_tcg_that_is_asked_for_is_not_tried(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    assert await host.prober().choose("tcg") is Accelerator.TCG
    assert host.tried == [] and not caplog.records


async def test_without_dev_kvm_nothing_is_booted(host: Host, tmp_path: Path) -> None:
    (tmp_path / "kvm").unlink()
    assert await host.prober().choose("auto") is Accelerator.TCG
    with pytest.raises(FailedPrecondition, match="no /dev/kvm"):
        await host.prober().choose("kvm")
    assert host.tried == []


async def test_trying_all_asks_no_cache_and_is_remembered(host: Host) -> None:
    host.behaviour[Accelerator.KVM] = "hangs"
    assert await host.prober().choose("auto") is Accelerator.TCG
    host.behaviour[Accelerator.KVM] = "works"
    kvm, tcg = await host.prober().try_all()
    assert (kvm.accelerator, kvm.works, kvm.why_not) == (Accelerator.KVM, True, "")
    assert tcg.works and tcg.seconds < 5
    assert await host.prober().choose("auto") is Accelerator.KVM
    assert host.tried == [Accelerator.KVM, Accelerator.KVM, Accelerator.TCG]


@pytest.mark.parametrize("changed", ["image", "command line", "hypervisor", "kvm", "boot"])
async def test_changed_circumstances_are_tried_anew(
    host: Host, changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.behaviour[Accelerator.KVM] = "does not start"
    assert await host.prober().choose("auto") is Accelerator.TCG
    host.behaviour[Accelerator.KVM] = "works"
    match changed:
        case "image":
            host.image = replace(host.image, build="other")
        case "command line":
            host.image = replace(host.image, command_line="loglevel=7")
        case "hypervisor":
            host.hypervisor.release = "fake 2.0"
        case "kvm":
            (tmp_path / "kvm").chmod(0o660)
        case "boot":
            (tmp_path / "boot_id").write_text("another\n")
            monkeypatch.setattr(attempts, "_BOOT_ID", tmp_path / "boot_id")
    assert await host.prober().choose("auto") is Accelerator.KVM


@pytest.mark.parametrize("content", ["", "{", "[]", '{"circumstances": {}, "attempts": []}', '{"unknown": 1}'])
async def test_a_cache_that_cannot_be_read_is_ignored(host: Host, tmp_path: Path, content: str) -> None:
    (tmp_path / "state").mkdir()
    cache = tmp_path / "state/accelerators.json"
    cache.write_text(content)
    assert await host.prober().choose("auto") is Accelerator.KVM
    assert json.loads(cache.read_text())["attempts"][0]["works"] is True
    assert list(cache.parent.iterdir()) == [cache]


async def test_what_a_killed_probe_has_left_is_given_back_first(host: Host, tmp_path: Path) -> None:
    prober = host.prober()
    (tmp_path / "run/probe").mkdir(parents=True)
    (tmp_path / "run/probe/console.sock").touch()
    trial = prober._trial
    host.transports.held.add(trial._id)
    host.hypervisor.machines[trial._name] = trial._spec(Accelerator.KVM, host.transports.way, Account(100, 0))
    assert await prober.choose("auto") is Accelerator.KVM


async def test_a_cancelled_probe_leaves_nothing_and_is_not_remembered(host: Host, tmp_path: Path) -> None:
    host.behaviour[Accelerator.KVM] = "hangs"
    choosing = asyncio.create_task(host.prober().choose("auto"))
    await until(lambda: host.hypervisor.machines, 5)
    choosing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await choosing
    assert host.nothing_is_left()
    assert not (tmp_path / "state").exists()


async def test_a_cancelled_probe_whose_machine_cannot_be_ended_is_not_taken_for_one_that_failed(
    host: Host, tmp_path: Path
) -> None:
    host.behaviour[Accelerator.KVM] = "hangs"
    choosing = asyncio.create_task(host.prober().choose("auto"))
    await until(lambda: host.hypervisor.machines, 5)
    host.hypervisor.destroy_error = Unavailable("libvirt is gone")
    choosing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await choosing
    assert not (tmp_path / "state").exists()
    host.hypervisor.destroy_error = None
    assert await host.prober().choose("auto") is Accelerator.TCG
