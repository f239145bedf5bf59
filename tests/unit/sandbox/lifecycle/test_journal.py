"""The journal of a pod's life: a line when it is made, ready, ended and removed, and of its containers."""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from typing_extensions import override

from tests.fakes.host import FakeWorld, app, hang_at, pod
from tests.support.waiting import until
from vmsandbox.errors import Unavailable
from vmsandbox.log import FORMATS
from vmsandbox.model import ContainerState
from vmsandbox.sandbox.spec import domain_name


class Written(logging.Handler):
    """Keeps what it writes; ids are written as POD and APP."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._form = FORMATS[form](journal=form == "text")

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self._form.format(record))

    def without_ids(self, pod_id: str, container_id: str = "none") -> list[str]:
        told = (line.replace(pod_id, "POD").replace(container_id, "APP") for line in self.lines)
        return [re.sub(r"after \d+\.\d s", "after SECONDS", line) for line in told]


@pytest.fixture
def journal() -> Iterator[Written]:
    yield from written("text")


@pytest.fixture
def objects() -> Iterator[Written]:
    yield from written("json")


def written(form: str) -> Iterator[Written]:
    logger, handler = logging.getLogger("vmsandbox.pods"), Written(form)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


async def test_a_life_that_ends_as_it_should_has_these_lines(world: FakeWorld, journal: Written) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await service.create_container(sandbox, app())
        await service.start_container(container)
        await service.stop_container(container, 1)
        await service.wait_container(container)
        await service.stop_pod_sandbox(sandbox)
        await service.remove_pod_sandbox(sandbox)
        await service.remove_pod_sandbox(sandbox)
    assert journal.without_ids(sandbox, container) == [
        "<6>pods: pod default/web (POD) is being made: vCPUs 1, memory 96 MiB, handler vmsandbox",
        "<6>pods: pod default/web (POD) is ready after SECONDS",
        "<6>pods: container app (APP) of pod default/web (POD) is started",
        "<6>pods: container app (APP) of pod default/web (POD) has ended: exit code 143, Error",
        "<6>pods: pod default/web (POD) has ended: it was stopped",
        "<6>pods: pod default/web (POD) is removed",
    ]


async def test_each_line_names_pod_and_container_for_programs(world: FakeWorld, objects: Written) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await service.create_container(sandbox, app())
        await service.start_container(container)
        await service.remove_pod_sandbox(sandbox)
    told: list[dict[str, Any]] = [json.loads(line) for line in objects.lines]
    named = {"id": sandbox, "name": "web", "namespace": "default", "uid": "uid-web"}
    assert [line["pod"] for line in told] == [named] * 6
    of_containers = [line["container"] for line in told if "container" in line]
    assert of_containers == [{"id": container, "name": "app"}] * 2


async def test_a_machine_that_dies_ends_its_pod_with_the_reason(world: FakeWorld, journal: Written) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        journal.lines.clear()
        world.hypervisor.panic(domain_name(sandbox))
        await until(lambda: bool(journal.lines))
        await service.remove_pod_sandbox(sandbox)
    assert journal.without_ids(sandbox)[0].startswith("<3>pods: pod default/web (POD) has ended: the virtual machine")
    assert journal.without_ids(sandbox)[1:] == ["<6>pods: pod default/web (POD) is removed"]


async def test_a_pod_that_cannot_be_made_is_told_with_the_reason(
    world: FakeWorld, journal: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("no address is free", hint="ask the network", evidence={"stderr": "full\n<0>forged"})

    monkeypatch.setattr(world.network, "set_up", fail)
    async with world.daemon() as service:
        with pytest.raises(Unavailable):
            await service.run_pod_sandbox(pod())
    sandbox = journal.lines[0].partition("(")[2].partition(")")[0]
    assert journal.without_ids(sandbox)[1].splitlines() == [
        "<3>pods: pod default/web (POD) is not made: pod default/web: no address is free",
        "<3>  stderr:",
        "<3>    full",
        "<3>    <0>forged",
        "<3>  try: ask the network",
    ]


async def test_a_pod_that_its_client_gives_up_is_told_so(world: FakeWorld, journal: Written) -> None:
    async with world.daemon() as service:
        reached = hang_at(world, "hello")
        call = asyncio.create_task(service.run_pod_sandbox(pod()))
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert [line.partition(") ")[2] for line in journal.lines[1:]] == ["was given up before it was ready"]


async def test_a_pod_that_is_taken_back_has_one_line(world: FakeWorld, journal: Written) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        await service.create_container(sandbox, app())
    journal.lines.clear()
    async with world.daemon():
        pass
    assert journal.without_ids(sandbox) == ["<6>pods: pod default/web (POD) is taken back; its containers: 1"]


async def test_a_container_that_ends_by_itself_has_its_exit_code(world: FakeWorld, journal: Written) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await service.create_container(sandbox, app())
        await service.start_container(container)
        await service.stop_container(container, 0)
        await service.wait_container(container)
        assert service.container_status(container).state is ContainerState.EXITED
        assert journal.without_ids(sandbox, container)[-1].endswith("has ended: exit code 137, Error")
