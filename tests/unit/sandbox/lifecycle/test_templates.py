"""Templates: made in the background once a machine was booted, used by later ones, and thrown away when of no use."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.host import MIB, FakeWorld, pod
from tests.fakes.hostile_agent import hang
from tests.support.waiting import until
from vmsandbox.config import TemplateChoice
from vmsandbox.errors import FailedPrecondition, InvalidArgument, VmsandboxError
from vmsandbox.model import Resources
from vmsandbox.sandbox.machines import making
from vmsandbox.sandbox.machines.templates import KEPT
from vmsandbox.service import RuntimeService


@contextlib.asynccontextmanager
async def daemon(
    world: FakeWorld, template: TemplateChoice = TemplateChoice.AUTO, budget: int = 1024 * MIB
) -> AsyncIterator[RuntimeService]:
    async with world.daemon(memory_budget=budget, template=template) as service:
        yield service


def made(world: FakeWorld) -> list[Path]:
    return sorted((world.directory / "templates").glob("*/template.json"))


def is_making(world: FakeWorld) -> bool:
    return any((world.directory / "templates").glob("making-*"))


async def with_template(world: FakeWorld, service: RuntimeService) -> str:
    """Boot a pod, and wait for the template that it has wanted."""
    sandbox_id = await service.run_pod_sandbox(pod("first"))
    await until(lambda: made(world) and not is_making(world))
    return sandbox_id


def name(sandbox_id: str) -> str:
    return f"vmsandbox-{sandbox_id}"


async def test_templates_that_were_removed_are_made_again(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await with_template(world, service)
        await service.run_pod_sandbox(pod("second"))
        shutil.rmtree(world.directory / "templates")
        third = await service.run_pod_sandbox(pod("third"))
        assert name(third) not in world.hypervisor.restored
        await until(lambda: made(world))


async def test_the_first_machine_is_booted_and_later_ones_go_on_from_its_like(world: FakeWorld) -> None:
    async with daemon(world) as service:
        first = await with_template(world, service)
        second = await service.run_pod_sandbox(pod("second"))
        assert world.hypervisor.restored == [name(second)]
        booted, restored = (world.hypervisor.machines[name(each)] for each in (first, second))
        assert restored.share is not None and restored.scratch is not None and restored.network is not None
        assert booted.uuid != restored.uuid and world.cgroups.confined.keys() == {first, second}
        assert service.pod_sandbox_status(second).timings.kernel == 0
        for each in (first, second):
            await service.remove_pod_sandbox(each)
    assert not world.left()


async def test_a_later_daemon_uses_the_templates_of_an_earlier_one(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await service.remove_pod_sandbox(await with_template(world, service))
    async with daemon(world) as service:
        sandbox_id = await service.run_pod_sandbox(pod())
        assert world.hypervisor.restored == [name(sandbox_id)]


async def test_without_templates_none_is_made(world: FakeWorld) -> None:
    async with daemon(world, TemplateChoice.OFF) as service:
        await service.run_pod_sandbox(pod("first"))
        await service.run_pod_sandbox(pod("second"))
    assert not world.hypervisor.restored and not (world.directory / "templates").exists()


async def test_a_machine_of_another_kind_has_a_template_of_its_own(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await with_template(world, service)
        larger = pod("larger", resources=Resources(cpu_quota=900_000, cpu_period=100_000))
        await service.run_pod_sandbox(larger)
        assert not world.hypervisor.restored
        await until(lambda: len(made(world)) == 2)


async def test_another_boot_of_the_host_makes_a_template_useless(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await with_template(world, service)
        world.hypervisor.host = "another boot"
        await service.run_pod_sandbox(pod("second"))
        assert not world.hypervisor.restored
        await until(lambda: len(made(world)) == 2)


async def test_no_more_templates_are_kept_than_are_used(world: FakeWorld) -> None:
    async with daemon(world, budget=4096 * MIB) as service:
        for number in range(KEPT + 2):
            world.hypervisor.host = f"boot {number}"
            before = {path.parent.name for path in made(world)}
            await service.run_pod_sandbox(pod(f"pod{number}"))
            await until(lambda seen=before: {path.parent.name for path in made(world)} - seen)
        await until(lambda: len(made(world)) == KEPT)


async def test_a_template_whose_content_has_changed_is_made_anew(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await service.remove_pod_sandbox(await with_template(world, service))
    (template,) = made(world)
    template.with_name("state").write_bytes(b"other content")
    async with daemon(world) as service:
        await service.run_pod_sandbox(pod("second"))
        assert not world.hypervisor.restored
        await until(lambda: made(world) and template.with_name("state").read_bytes() != b"other content")


async def test_a_pod_does_not_fail_with_a_template_from_which_no_machine_goes_on(
    world: FakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    async with daemon(world) as service:
        await with_template(world, service)
        (template,) = made(world)
        template.with_name("state").write_bytes(b"what this QEMU does not take")
        second = await service.run_pod_sandbox(pod("second"))
        third = await service.run_pod_sandbox(pod("third"))
        assert {name(second), name(third)} < world.hypervisor.machines.keys()
        assert not world.hypervisor.restored and not made(world)
        await asyncio.sleep(0.1)
        assert not made(world), "one that would be of no use either is not made"
    assert len([record for record in caplog.records if "since a template is of no use" in record.message]) == 1


@pytest.mark.parametrize(("late", "templates"), [("xx.xx", 1), ("xxx", 0)])
async def test_a_template_is_removed_for_machines_that_are_late_in_a_row(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch, late: str, templates: int
) -> None:
    monkeypatch.setattr(making, "_ANSWER_PART", 0.01)
    async with daemon(world, budget=4096 * MIB) as service:
        await with_template(world, service)
        for number, each in enumerate(late):
            machines_to_be = iter([each == "x", False])

            def script(agent: FakeAgent, silent: Iterator[bool] = machines_to_be) -> None:
                if next(silent):
                    agent.before["hello"] = hang

            world.transports.prepare = script
            sandbox_id = await service.run_pod_sandbox(pod(f"pod{number}"))
            assert service.pod_sandbox_status(sandbox_id).boots == (2 if each == "x" else 1)
        assert len(made(world)) == templates


async def test_machines_that_are_late_at_the_same_time_cost_no_template(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_ANSWER_PART", 0.03)
    burst = 4
    machines_to_be = iter([True] * burst + [False] * burst)

    def script(agent: FakeAgent) -> None:
        if next(machines_to_be):
            agent.before["hello"] = hang

    async with world.daemon(memory_budget=4096 * MIB, template=TemplateChoice.AUTO, boots_in_parallel=burst) as service:
        await with_template(world, service)
        world.transports.prepare = script
        pods = await asyncio.gather(*(service.run_pod_sandbox(pod(f"pod{number}")) for number in range(burst)))
        assert [service.pod_sandbox_status(each).boots for each in pods] == [2] * burst
        assert len(world.hypervisor.restored) == burst and len(made(world)) == 1


async def test_a_machine_that_takes_no_devices_is_booted_with_them(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await with_template(world, service)
        world.hypervisor.plug_error = FailedPrecondition("QEMU refuses device_add")
        second = await service.run_pod_sandbox(pod("second"))
        assert world.hypervisor.machines[name(second)].vsock is not None
        assert not made(world)


@pytest.mark.parametrize("error", [InvalidArgument("there is no such cgroup"), FailedPrecondition("no cgroups")])
async def test_an_error_of_a_pod_costs_no_template(world: FakeWorld, error: VmsandboxError) -> None:
    async with daemon(world) as service:
        await with_template(world, service)
        world.cgroups.confine_error = error
        with pytest.raises(type(error), match=str(error)):
            await service.run_pod_sandbox(pod("second"))
        world.cgroups.confine_error = None
        third = await service.run_pod_sandbox(pod("third"))
        assert name(third) in world.hypervisor.restored and made(world)


async def test_a_machine_that_cannot_be_saved_leaves_nothing_and_costs_no_pod(world: FakeWorld) -> None:
    async def save(machine: str, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise FailedPrecondition("the disk is full")

    world.hypervisor.save = save  # type: ignore[method-assign]
    async with daemon(world) as service:
        first = await service.run_pod_sandbox(pod("first"))
        await until((world.directory / "templates").exists)
        await until(lambda: not list((world.directory / "templates").iterdir()))
        assert world.hypervisor.machines.keys() == {name(first)}
        await service.remove_pod_sandbox(first)
    assert not world.left()


async def test_without_room_for_its_machine_no_template_is_made_and_no_pod_waits(world: FakeWorld) -> None:
    async with daemon(world, budget=165 * MIB) as service:
        await service.run_pod_sandbox(pod("first"))
        await asyncio.sleep(0.1)
        assert len(world.hypervisor.machines) == 1 and not made(world)


async def test_a_machine_that_was_to_become_a_template_ends_with_the_next_daemon_at_the_latest(
    world: FakeWorld,
) -> None:
    hanging = asyncio.Event()

    async def booted(machine: str) -> None:
        hanging.set()
        await asyncio.Event().wait()

    world.hypervisor.booted = booted  # type: ignore[method-assign]
    async with daemon(world) as service:
        first = await service.run_pod_sandbox(pod("first"))
        await hanging.wait()
        left = world.directory / "killed"
        shutil.copytree(world.directory / "templates", left)
        spec = next(spec for machine, spec in world.hypervisor.machines.items() if machine != name(first))
    assert world.hypervisor.machines.keys() == {name(first)}
    shutil.rmtree(world.directory / "templates")
    left.rename(world.directory / "templates")  # as after a kill
    world.hypervisor.machines[spec.name] = spec
    async with daemon(world, TemplateChoice.OFF):
        await until(lambda: spec.name not in world.hypervisor.machines)
        await until(lambda: not list((world.directory / "templates").iterdir()))
