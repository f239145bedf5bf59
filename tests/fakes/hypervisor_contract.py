"""The contract of `Hypervisor`: one suite for the fake and for libvirt's."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vmsandbox.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from vmsandbox.hypervisor import (
    Disk,
    Hypervisor,
    MachineEvent,
    MachineSpec,
    MachineState,
    RestoreFailed,
)

MIB = 1024 * 1024
NewSpec = Callable[[], Awaitable[MachineSpec]]
Kill = Callable[[str], None]
Pause = Callable[[str], Awaitable[None]]


def new_name() -> str:
    """A machine's name that no other has, in this run and in others on the host."""
    return f"vmsandbox-test-{uuid.uuid4().hex[:12]}"


async def next_event(events: AsyncIterator[MachineEvent], within: float = 5) -> MachineEvent:
    """The next event, which has to come within that many seconds."""
    async with asyncio.timeout(within):
        return await anext(events)


class HypervisorContract:
    """Inherit from it, with fixtures `hypervisor`, `new_spec`, and two that are given a machine's name.

    `kill` ends its QEMU at once; `pause` stops it, and lets it go on.

    What the tests leave running is ended by the fixtures.
    """

    @pytest.fixture
    async def machine(self, hypervisor: Hypervisor, new_spec: NewSpec) -> MachineSpec:
        """A machine that runs."""
        spec = await new_spec()
        await hypervisor.create(spec)
        return spec

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        """Where disks are, which QEMU's user can enter."""
        return tmp_path

    @pytest.fixture
    def disk(self, directory: Path) -> Disk:
        """A disk that can be plugged in: everybody may read it, as images of the store."""
        path = directory / "disk.img"
        path.write_bytes(bytes(1024 * 1024))
        path.chmod(0o644)
        return Disk(uuid.uuid4().hex, path)

    async def test_a_created_machine_runs_and_is_listed(self, hypervisor: Hypervisor, machine: MachineSpec) -> None:
        assert await hypervisor.state(machine.name) is MachineState.RUNNING
        assert machine.name in await hypervisor.list_names()

    async def test_a_destroyed_machine_is_gone(self, hypervisor: Hypervisor, machine: MachineSpec) -> None:
        await hypervisor.destroy(machine.name)
        assert await hypervisor.state(machine.name) is MachineState.GONE
        assert machine.name not in await hypervisor.list_names()

    async def test_destroying_what_is_gone_succeeds(self, hypervisor: Hypervisor, machine: MachineSpec) -> None:
        await hypervisor.destroy(machine.name)
        await hypervisor.destroy(machine.name)
        await hypervisor.destroy(new_name())

    async def test_destroying_twice_at_once_succeeds(self, hypervisor: Hypervisor, machine: MachineSpec) -> None:
        await asyncio.gather(hypervisor.destroy(machine.name), hypervisor.destroy(machine.name))
        assert await hypervisor.state(machine.name) is MachineState.GONE

    async def test_what_never_was_is_gone(self, hypervisor: Hypervisor) -> None:
        assert await hypervisor.state(new_name()) is MachineState.GONE

    async def test_a_name_is_one_machine(self, hypervisor: Hypervisor, machine: MachineSpec, new_spec: NewSpec) -> None:
        other = replace(await new_spec(), name=machine.name)
        for spec in (machine, other):
            with pytest.raises(AlreadyExists, match=machine.name):
                await hypervisor.create(spec)
        assert await hypervisor.state(machine.name) is MachineState.RUNNING

    async def test_after_its_end_its_name_is_free(
        self, hypervisor: Hypervisor, machine: MachineSpec, new_spec: NewSpec
    ) -> None:
        await hypervisor.destroy(machine.name)
        events = hypervisor.events()
        await hypervisor.create(replace(await new_spec(), name=machine.name))
        await hypervisor.destroy(machine.name)
        assert (await next_event(events)).name == machine.name

    async def test_a_machine_without_its_image_leaves_nothing(self, hypervisor: Hypervisor, new_spec: NewSpec) -> None:
        spec = await new_spec()
        events = hypervisor.events()
        broken = replace(spec, image=replace(spec.image, root=Path("/nonexistent/root.squashfs")))
        with pytest.raises(FailedPrecondition, match=r"/nonexistent/root\.squashfs"):
            await hypervisor.create(broken)
        assert await hypervisor.state(spec.name) is MachineState.GONE
        await hypervisor.create(replace(await new_spec(), name=spec.name))
        await hypervisor.destroy(spec.name)
        assert (await next_event(events)).reason == "destroyed", "what did not start has not ended"

    async def test_the_processes_of_a_machine_are_there_before_its_guest_runs(
        self, hypervisor: Hypervisor, new_spec: NewSpec
    ) -> None:
        spec, seen = await new_spec(), []

        async def before() -> None:
            seen.append((await hypervisor.usage(spec.name)).working_set)

        await hypervisor.create(spec, before)
        assert seen[0] > 0 and await hypervisor.state(spec.name) is MachineState.RUNNING

    async def test_a_machine_whose_processes_cannot_be_prepared_leaves_nothing(
        self, hypervisor: Hypervisor, new_spec: NewSpec
    ) -> None:
        spec = await new_spec()

        async def before() -> None:
            raise FailedPrecondition("no such cgroup")

        with pytest.raises(FailedPrecondition, match="no such cgroup"):
            await hypervisor.create(spec, before)
        assert await hypervisor.state(spec.name) is MachineState.GONE

    @pytest.mark.parametrize("after", [0, 0.01, 0.1, 0.3])
    async def test_a_cancelled_create_leaves_nothing(
        self, hypervisor: Hypervisor, new_spec: NewSpec, after: float
    ) -> None:
        spec = await new_spec()
        creating = asyncio.create_task(hypervisor.create(spec))
        await asyncio.sleep(after)
        if creating.cancel():
            with pytest.raises(asyncio.CancelledError):
                await creating
            assert await hypervisor.state(spec.name) is MachineState.GONE

    async def test_a_machine_is_measured_from_outside(self, hypervisor: Hypervisor, machine: MachineSpec) -> None:
        first = await hypervisor.usage(machine.name)
        second = await hypervisor.usage(machine.name)
        assert 0 < first.at <= second.at and 0 <= first.cpu <= second.cpu
        assert 0 < second.working_set <= second.memory
        assert 0 <= second.major_page_faults <= second.page_faults
        assert Path(f"/proc/{await hypervisor.process(machine.name)}").exists()

    async def test_what_does_not_run_is_not_measured(self, hypervisor: Hypervisor, machine: MachineSpec) -> None:
        await hypervisor.usage(machine.name)
        await hypervisor.destroy(machine.name)
        for name in (machine.name, new_name()):
            for ask in (hypervisor.usage, hypervisor.process):
                with pytest.raises(NotFound, match=name):
                    await ask(name)

    async def test_a_machine_has_the_size_that_it_was_started_with(
        self, hypervisor: Hypervisor, machine: MachineSpec
    ) -> None:
        assert await hypervisor.memory(machine.name) == machine.size.memory
        assert await hypervisor.resize(machine.name, machine.size.memory) == machine.size.memory
        assert await hypervisor.resize(machine.name, MIB) == machine.size.memory, "it never has less"

    async def test_a_machine_does_not_grow_beyond_its_most(self, hypervisor: Hypervisor, machine: MachineSpec) -> None:
        most = machine.most.memory
        with pytest.raises(InvalidArgument, match=f"{most // MIB + 1} MiB.* at most {most // MIB} MiB"):
            await hypervisor.resize(machine.name, most + MIB)
        assert await hypervisor.memory(machine.name) == machine.size.memory

    async def test_what_does_not_run_has_no_size(self, hypervisor: Hypervisor, machine: MachineSpec) -> None:
        await hypervisor.destroy(machine.name)
        for name in (machine.name, new_name()):
            with pytest.raises(NotFound, match=name):
                await hypervisor.memory(name)
            with pytest.raises(NotFound, match=name):
                await hypervisor.resize(name, machine.size.memory)

    async def test_a_disk_is_plugged_in_and_out(self, hypervisor: Hypervisor, machine: MachineSpec, disk: Disk) -> None:
        for _ in range(2):
            await hypervisor.attach_disk(machine.name, disk)
            await hypervisor.attach_disk(machine.name, disk)
            await hypervisor.detach_disk(machine.name, disk.serial)
            await hypervisor.detach_disk(machine.name, disk.serial)
        assert await hypervisor.state(machine.name) is MachineState.RUNNING

    async def test_disks_come_and_go_at_the_same_time(
        self, hypervisor: Hypervisor, machine: MachineSpec, disk: Disk
    ) -> None:
        disks = [replace(disk, serial=uuid.uuid4().hex) for _ in range(20)]
        await asyncio.gather(*(hypervisor.attach_disk(machine.name, each) for each in disks))
        await asyncio.gather(*(hypervisor.detach_disk(machine.name, each.serial) for each in disks[::2]))
        await asyncio.gather(*(hypervisor.attach_disk(machine.name, each) for each in disks))

    async def test_a_disk_without_a_file_is_an_error(
        self, hypervisor: Hypervisor, machine: MachineSpec, disk: Disk
    ) -> None:
        with pytest.raises(FailedPrecondition, match=r"/nonexistent\.img"):
            await hypervisor.attach_disk(machine.name, replace(disk, path=Path("/nonexistent.img")))
        await hypervisor.attach_disk(machine.name, disk)

    async def test_without_a_machine_no_disk_is_plugged_in(self, hypervisor: Hypervisor, disk: Disk) -> None:
        with pytest.raises(NotFound):
            await hypervisor.attach_disk(new_name(), disk)

    async def test_a_disk_has_another_size(self, hypervisor: Hypervisor, machine: MachineSpec, disk: Disk) -> None:
        disk.path.chmod(0o666)
        await hypervisor.attach_disk(machine.name, replace(disk, readonly=False))
        await hypervisor.resize_disk(machine.name, disk.serial, 2 * 1024 * 1024)
        await hypervisor.detach_disk(machine.name, disk.serial)
        for name in (machine.name, new_name()):
            with pytest.raises(NotFound, match=disk.serial):
                await hypervisor.resize_disk(name, disk.serial, 2 * 1024 * 1024)

    async def test_without_a_machine_every_disk_is_plugged_out(self, hypervisor: Hypervisor, disk: Disk) -> None:
        await hypervisor.detach_disk(new_name(), disk.serial)

    async def test_the_end_of_a_machine_is_told_once(
        self, hypervisor: Hypervisor, new_spec: NewSpec, machine: MachineSpec
    ) -> None:
        events = hypervisor.events()
        await hypervisor.destroy(machine.name)
        assert await next_event(events) == MachineEvent(machine.name, MachineState.STOPPED, "destroyed")
        other = await new_spec()
        await hypervisor.create(other)
        await hypervisor.destroy(other.name)
        assert (await next_event(events)).name == other.name

    async def test_every_listener_is_told_and_only_what_comes_after(
        self, hypervisor: Hypervisor, new_spec: NewSpec, machine: MachineSpec
    ) -> None:
        one = hypervisor.events()
        await hypervisor.destroy(machine.name)
        await next_event(one)
        two = hypervisor.events()
        other = await new_spec()
        await hypervisor.create(other)
        await hypervisor.destroy(other.name)
        for events in (one, two):
            assert (await next_event(events)).name == other.name

    async def test_a_machine_whose_qemu_is_killed_has_crashed_within_a_second(
        self, hypervisor: Hypervisor, machine: MachineSpec, kill: Kill
    ) -> None:
        events = hypervisor.events()
        kill(machine.name)
        event = await next_event(events, within=1)
        assert (event.name, event.state) == (machine.name, MachineState.CRASHED)
        assert await hypervisor.state(machine.name) is MachineState.GONE
        await hypervisor.destroy(machine.name)

    async def test_a_machine_that_dies_lets_its_disks_go(
        self, hypervisor: Hypervisor, machine: MachineSpec, kill: Kill, disk: Disk
    ) -> None:
        await hypervisor.attach_disk(machine.name, disk)
        kill(machine.name)
        async with asyncio.timeout(5):
            await hypervisor.detach_disk(machine.name, disk.serial)

    async def test_who_no_longer_listens_holds_nothing_up(self, hypervisor: Hypervisor, machine: MachineSpec) -> None:
        listening = asyncio.create_task(anext(aiter(hypervisor.events())))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        await hypervisor.destroy(machine.name)

    async def test_a_machine_that_goes_on_after_a_pause_is_named_and_has_not_ended(
        self, hypervisor: Hypervisor, machine: MachineSpec, pause: Pause
    ) -> None:
        events, resumed = hypervisor.events(), hypervisor.resumed()
        await pause(machine.name)
        async with asyncio.timeout(5):
            assert await anext(resumed) == machine.name
        await hypervisor.destroy(machine.name)
        assert (await next_event(events)).reason == "destroyed"

    async def test_it_names_its_version(self, hypervisor: Hypervisor) -> None:
        assert any(character.isdigit() for character in await hypervisor.version())

    async def test_a_machine_is_not_made_from_what_is_not_a_saved_state(
        self, hypervisor: Hypervisor, new_spec: NewSpec, directory: Path
    ) -> None:
        spec, saved = await new_spec(), directory / "garbage"
        saved.write_bytes(b"\0" * 4096)
        with pytest.raises(RestoreFailed, match="garbage"):
            await hypervisor.restore(spec, saved)
        assert await hypervisor.state(spec.name) is MachineState.GONE
        await hypervisor.create(spec)

    async def test_without_a_machine_nothing_is_saved_and_nothing_plugged_in(
        self, hypervisor: Hypervisor, new_spec: NewSpec, directory: Path
    ) -> None:
        spec = await new_spec()
        for call in (
            hypervisor.booted(spec.name),
            hypervisor.save(spec.name, directory / "nothing"),
            hypervisor.plug(spec),
            hypervisor.unplug_network(spec.name),
        ):
            with pytest.raises(NotFound, match=spec.name):
                await call

    async def test_states_have_the_same_key_whosever_machine_it_is(
        self, hypervisor: Hypervisor, new_spec: NewSpec
    ) -> None:
        one, other = await new_spec(), await new_spec()
        key = await hypervisor.state_key(one)
        assert key == await hypervisor.state_key(other) == await hypervisor.state_key(one.unclaimed)
        assert len(bytes.fromhex(key)) == 16
        for different in (
            replace(one, size=replace(one.size, memory=one.size.memory - MIB)),
            replace(one, most=replace(one.most, memory=2 * one.most.memory)),
            replace(one, kernel_parameters="loglevel=7"),
        ):
            assert await hypervisor.state_key(different) != key


class SavingContract:
    """Inherit from it, with the fixtures of `HypervisorContract` and `booted_spec`.

    `booted_spec` makes the specification of a machine whose guest boots, and reads its secret then.
    """

    async def test_machines_go_on_from_the_state_of_one_that_has_booted(
        self, hypervisor: Hypervisor, booted_spec: NewSpec, directory: Path
    ) -> None:
        template, saved = await booted_spec(), directory / "saved"
        await hypervisor.create(template.unclaimed)
        await hypervisor.booted(template.name)
        await hypervisor.save(template.name, saved)
        assert await hypervisor.state(template.name) is MachineState.GONE
        specs = [await booted_spec(), await booted_spec()]
        for spec in specs:
            prepared: list[str] = []

            async def before(name: str = spec.name, done: list[str] = prepared) -> None:
                done.append(name)

            await hypervisor.restore(spec, saved, before)
            await hypervisor.plug(spec)
            assert prepared == [spec.name]
            await self.answers(spec)
        assert {spec.name for spec in specs} <= set(await hypervisor.list_names())
        assert await hypervisor.memory(specs[0].name) == specs[0].size.memory

    async def answers(self, spec: MachineSpec) -> None:
        """Raise unless the guest of a machine goes on, where there is a guest."""


class ResizingContract:
    """Inherit from it, with fixtures `hypervisor`, `machine`, and those below.

    `machine` may grow, and its guest has booted; tests leave it with any size. None takes memory that a guest uses:
    the kernel of a real one would kill for it, or panic.
    """

    async def test_a_machine_grows_and_gives_back_what_it_got(
        self, hypervisor: Hypervisor, machine: MachineSpec
    ) -> None:
        for memory in (machine.most.memory, machine.size.memory):
            assert await hypervisor.resize(machine.name, memory) == memory
            assert await hypervisor.memory(machine.name) == memory

    async def test_sizes_that_are_asked_for_at_once_come_one_after_the_other(
        self, hypervisor: Hypervisor, machine: MachineSpec
    ) -> None:
        sizes = [machine.size.memory + number * 64 * MIB for number in range(1, 4)]
        assert await asyncio.gather(*(hypervisor.resize(machine.name, size) for size in sizes)) == sizes
        assert await hypervisor.memory(machine.name) in sizes
