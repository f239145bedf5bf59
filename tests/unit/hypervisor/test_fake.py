"""The fake hypervisor is held to what libvirt's does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.hypervisor_contract import (
    HypervisorContract,
    NewSpec,
    Pause,
    ResizingContract,
    SavingContract,
    new_name,
)
from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor import Accelerator, GuestImage, MachineSpec
from vmsandbox.model import MachineSize, Vsock
from vmsandbox.process import Account


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    return FakeHypervisor()


@pytest.fixture
def new_spec(tmp_path: Path) -> NewSpec:
    for name in ("kernel", "initramfs", "root"):
        (tmp_path / name).touch()
    image = GuestImage(tmp_path / "kernel", tmp_path / "initramfs", tmp_path / "root", "quiet", "build")

    async def make() -> MachineSpec:
        name = new_name()
        return MachineSpec(
            name=name,
            uuid="6cf0e3d4-6a55-4a9b-8ad0-3b5f8a1f2c01",
            title="default/web",
            image=image,
            size=MachineSize(1, 1 << 28),
            most=MachineSize(4, 1 << 31),
            accelerator=Accelerator.TCG,
            account=Account(1900000042, 108),
            vsock=Vsock(42),
            console=tmp_path / "console.sock",
        )

    return make


class TestFakeHypervisor(HypervisorContract):
    @pytest.fixture
    def kill(self, hypervisor: FakeHypervisor) -> Callable[[str], None]:
        return hypervisor.kill

    @pytest.fixture
    def pause(self, hypervisor: FakeHypervisor) -> Pause:
        return hypervisor.pause


class TestFakeSaving(SavingContract):
    @pytest.fixture
    def booted_spec(self, new_spec: NewSpec) -> NewSpec:
        return new_spec

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        return tmp_path


class TestFakeResizing(ResizingContract):
    @pytest.fixture
    async def machine(self, hypervisor: FakeHypervisor, new_spec: NewSpec) -> MachineSpec:
        spec = await new_spec()
        await hypervisor.create(spec)
        return spec

    async def test_memory_that_the_guest_uses_is_not_taken_and_the_old_size_goes_on(
        self, hypervisor: FakeHypervisor, machine: MachineSpec
    ) -> None:
        await hypervisor.resize(machine.name, machine.most.memory)
        hypervisor.used[machine.name] = machine.most.memory * 3 // 4
        with pytest.raises(FailedPrecondition, match="memory"):
            await hypervisor.resize(machine.name, machine.size.memory)
        assert await hypervisor.memory(machine.name) == machine.most.memory
