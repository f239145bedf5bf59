"""The fake hypervisor is held to what libvirt's does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.hypervisor_contract import HypervisorContract, NewSpec, Pause, new_name
from vmsandbox.hypervisor.base import Accelerator, GuestImage, MachineSpec
from vmsandbox.model import Vsock
from vmsandbox.process import Account


class TestFakeHypervisor(HypervisorContract):
    @pytest.fixture
    def hypervisor(self) -> FakeHypervisor:
        return FakeHypervisor()

    @pytest.fixture
    def kill(self, hypervisor: FakeHypervisor) -> Callable[[str], None]:
        return hypervisor.kill

    @pytest.fixture
    def pause(self, hypervisor: FakeHypervisor) -> Pause:
        return hypervisor.pause

    @pytest.fixture
    def new_spec(self, tmp_path: Path) -> NewSpec:
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
                vcpus=1,
                memory=1 << 28,
                accelerator=Accelerator.TCG,
                account=Account(1900000042, 108),
                vsock=Vsock(42),
                console=tmp_path / "console.sock",
            )

        return make
