"""Raw block volumes in the runtime service, on a host of fakes: counted, taken back, and given back."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.agent import Refusal
from tests.fakes.host import MIB, FakeWorld, agent_of, app, made, pod, running
from tests.support.waiting import until
from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.hypervisor import Disk
from vmsandbox.model import ContainerState, Device, IdMapping, NamespaceMode, Namespaces, UserNamespace
from vmsandbox.protocol.messages import DeleteContainer, ReleaseDisk, Shutdown
from vmsandbox.sandbox.blocks import sizes
from vmsandbox.sandbox.blocks.nodes import SHARE
from vmsandbox.service import RuntimeService
from vmsandbox.state import ContainerRecord, State


@pytest.fixture
async def service(world: FakeWorld) -> AsyncIterator[RuntimeService]:
    async with world.daemon() as service:
        yield service


@pytest.fixture
async def sandbox(service: RuntimeService) -> str:
    return await service.run_pod_sandbox(pod())


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.write_bytes(bytes(MIB))
    path.chmod(0o640)
    return path


def volume(device: Path, permissions: str = "mrw") -> Device:
    return Device("/dev/xvda", str(device), permissions)


def with_device(name: str, device: Path, permissions: str = "mrw"):
    return app(name, devices=(volume(device, permissions),))


def disks(world: FakeWorld, sandbox_id: str) -> list[Disk]:
    """The raw block volumes that the machine has."""
    return [disk for disk in world.hypervisor.disks[f"vmsandbox-{sandbox_id}"].values() if disk.blocks]


def asked(world: FakeWorld, sandbox_id: str, *kinds: type) -> list[type]:
    return [type(request) for request in agent_of(world, sandbox_id).requests if isinstance(request, kinds)]


async def test_a_device_of_the_host_is_a_disk_with_its_owner_and_mode(service, world, sandbox, device):
    await service.create_container(sandbox, app(devices=(volume(device, "mr"), Device("/dev/fuse", "/dev/fuse"))))
    (disk,) = disks(world, sandbox)
    wanted, other = made(world, sandbox).devices
    assert (wanted.path, wanted.source, wanted.disk, wanted.permissions) == ("/dev/xvda", "", disk.serial, "mr")
    assert (wanted.mode, wanted.uid, wanted.gid) == (0o640, os.geteuid(), os.getegid())
    assert (other.source, other.disk) == ("/dev/fuse", "")
    assert disk.readonly


async def test_containers_share_one_disk_which_goes_with_the_last(service, world, sandbox, device):
    init, one, two = [
        await service.create_container(sandbox, with_device(name, device, permissions))
        for name, permissions in (("init", "mrw"), ("one", "mrw"), ("two", "r"))
    ]
    (disk,) = disks(world, sandbox)
    assert not disk.readonly
    for container in (init, one):
        await service.remove_container(container)
        assert disks(world, sandbox) == [disk] and not asked(world, sandbox, ReleaseDisk)
    await service.remove_container(two)
    assert (disks(world, sandbox), disk.path.exists()) == ([], False)
    assert asked(world, sandbox, DeleteContainer, ReleaseDisk)[-2:] == [DeleteContainer, ReleaseDisk]


async def test_one_that_writes_gets_a_disk_of_its_own_beside_one_that_is_only_read(service, world, sandbox, device):
    for name, permissions in (("reader", "r"), ("writer", "mrw"), ("another", "r")):
        await service.create_container(sandbox, with_device(name, device, permissions))
    assert sorted(disk.readonly for disk in disks(world, sandbox)) == [False, True]


async def test_a_stopped_pod_writes_back_before_its_machine_ends(service, world, sandbox, device):
    await running(service, sandbox, devices=(volume(device),))
    agent = agent_of(world, sandbox)
    await service.stop_pod_sandbox(sandbox)
    kinds = [type(request) for request in agent.requests if isinstance(request, ReleaseDisk | Shutdown)]
    assert kinds == [ReleaseDisk, Shutdown]
    assert world.left() == []


async def test_what_does_not_fit_leaves_nothing(service, world, sandbox, device, monkeypatch):
    async def refuse(name: str, disk: Disk) -> None:
        if disk.blocks:
            raise FailedPrecondition("QEMU does not take it")
        await attach(name, disk)

    attach = world.hypervisor.attach_disk
    monkeypatch.setattr(world.hypervisor, "attach_disk", refuse)
    with pytest.raises(FailedPrecondition, match="QEMU does not take it"):
        await service.create_container(sandbox, with_device("app", device))
    assert (service.list_containers(), list((world.directory / "run" / sandbox / "devices").iterdir())) == ((), [])
    monkeypatch.undo()
    await service.create_container(sandbox, with_device("app", device))


async def test_a_disk_that_the_guest_does_not_let_go_stays_and_is_asked_for_again(service, world, sandbox, device):
    container = await service.create_container(sandbox, with_device("app", device))

    async def refuse(_: ReleaseDisk) -> None:
        raise Refusal("failed_precondition", "disk is mounted in the machine")

    agent_of(world, sandbox).before["release_disk"] = refuse
    with pytest.raises(FailedPrecondition, match="is mounted in the machine"):
        await service.remove_container(container)
    assert len(disks(world, sandbox)) == 1
    del agent_of(world, sandbox).before["release_disk"]
    await service.remove_container(container)
    assert disks(world, sandbox) == []


async def test_two_pods_do_not_write_to_one_device_unless_both_say_that_they_can(service, world, sandbox, device):
    await service.create_container(sandbox, with_device("app", device))
    other = await service.run_pod_sandbox(pod("other", annotations={SHARE: "true"}))
    with pytest.raises(FailedPrecondition, match="is written by another pod of this node"):
        await service.create_container(other, with_device("app", device))
    await service.create_container(other, with_device("reader", device, "r"))
    await service.stop_pod_sandbox(sandbox)
    await service.create_container(other, with_device("writer", device))
    third = await service.run_pod_sandbox(pod("third", annotations={SHARE: "true"}))
    await service.create_container(third, with_device("writer", device))


async def test_a_pod_with_a_user_namespace_has_no_block_devices(service, world, device):
    mapping = (IdMapping(65536, 0, 65536),)
    namespaces = Namespaces(user=UserNamespace(NamespaceMode.POD, mapping, mapping))
    sandbox = await service.run_pod_sandbox(pod(namespaces=namespaces))
    with pytest.raises(InvalidArgument, match=r"a pod with a user namespace .* cannot have one"):
        await service.create_container(sandbox, with_device("app", device))
    assert disks(world, sandbox) == []


async def test_the_guest_learns_of_another_size(service, world, sandbox, device, monkeypatch):
    monkeypatch.setattr(sizes, "INTERVAL", 0.01)
    for name, permissions in (("reader", "r"), ("app", "mrw")):
        await service.create_container(sandbox, with_device(name, device, permissions))
    (serial,) = [disk.serial for disk in disks(world, sandbox) if not disk.readonly]
    await asyncio.sleep(0.1)
    assert world.hypervisor.sizes == {}
    os.truncate(device, 2 * MIB)
    await until(lambda: world.hypervisor.sizes == {serial: 2 * MIB})


async def test_a_new_container_has_the_size_of_now(service, world, sandbox, device):
    await service.create_container(sandbox, with_device("app", device))
    os.truncate(device, 2 * MIB)
    await service.create_container(sandbox, with_device("second", device))
    assert list(world.hypervisor.sizes.values()) == [2 * MIB]


async def test_a_size_that_cannot_be_told_is_logged_once(service, world, sandbox, device, monkeypatch, caplog):
    monkeypatch.setattr(sizes, "INTERVAL", 0.01)
    await service.create_container(sandbox, with_device("app", device))
    device.unlink()
    await until(lambda: "did not get the new size of its disk" in caplog.text)
    await asyncio.sleep(0.1)
    assert caplog.text.count("did not get the new size of its disk") == 1


async def test_disks_are_taken_back_with_their_users(world, device):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        one, two = [await service.create_container(sandbox, with_device(name, device)) for name in ("one", "two")]
        before = disks(world, sandbox)
    async with world.daemon() as service:
        three = await service.create_container(sandbox, with_device("three", device))
        assert disks(world, sandbox) == before
        for container in (one, two, three):
            assert disks(world, sandbox) == before
            await service.remove_container(container)
        assert disks(world, sandbox) == []
        await service.remove_pod_sandbox(sandbox)
    assert world.left() == []


@pytest.mark.parametrize("known", [True, False], ids=["of a container being made", "of no container"])
async def test_a_disk_of_a_container_that_was_never_made_is_unplugged(world, device, known):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await service.create_container(sandbox, with_device("app", device))
    with State(world.directory / "state.db") as state:
        record = next(iter(state.all(ContainerRecord)))
        if known:
            state.put(container, replace(record, state=ContainerState.UNKNOWN, blocks=()))
        else:
            state.delete(ContainerRecord, container)
    async with world.daemon() as service:
        assert (disks(world, sandbox), service.list_containers()) == ([], ())
        assert list((world.directory / "run" / sandbox / "devices").iterdir()) == []
        await service.create_container(sandbox, with_device("app", device))


async def test_a_machine_that_died_has_given_its_devices_back_when_it_is_stopped(service, world, sandbox, device):
    await running(service, sandbox, devices=(volume(device),))
    other = await service.run_pod_sandbox(pod("other"))
    world.hypervisor.kill(f"vmsandbox-{sandbox}")
    await until(lambda: service.pod_sandbox_status(sandbox).message)
    await service.stop_pod_sandbox(sandbox)
    await service.create_container(other, with_device("app", device))
    await service.remove_pod_sandbox(other)
    await service.remove_pod_sandbox(sandbox)
    assert world.left() == []


async def test_a_record_of_a_version_before_has_no_block_volumes(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await service.create_container(sandbox, app())
    with State(world.directory / "state.db") as state:
        body = state._database.execute("SELECT body FROM record WHERE id = ?", (container,)).fetchone()[0]
        assert "blocks" not in body
    async with world.daemon() as service:
        assert [status.id for status in service.list_containers()] == [container]
