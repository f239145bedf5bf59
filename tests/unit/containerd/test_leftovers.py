"""Tasks and sandboxes that containerd does not want any more are ended, however often that fails before."""

import asyncio

import grpc
import pytest

from tests.support.waiting import until
from tests.unit.containerd.conftest import World
from vmsandbox.containerd import leftovers
from vmsandbox.errors import Unavailable


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_PAUSE", 0.05)


def kept(world: World) -> list[str]:
    return sorted(path.name for path in (world.directory / "kept").glob("*/k8s.io/*"))


async def test_what_cannot_be_ended_is_tried_again_and_hinders_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    world.containerd.known -= {"c1", "s1"}
    world.runtime.errors = {name: Unavailable("busy") for name in ("remove_container", "remove_pod_sandbox")}
    await world.begin()
    for kind in ("task c1", "sandbox s1"):
        await until(lambda kind=kind: caplog.text.count(f"{kind} cannot be ended, which is tried again: busy") > 1)
    assert kept(world) == ["c1", "s1"]
    world.runtime.errors.clear()
    await until(lambda: kept(world) == [])
    assert world.runtime.containers == {} and world.runtime.sandboxes == {}


async def test_what_containerd_knows_stays(world: World) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    await world.begin()
    await asyncio.sleep(0.3)
    assert kept(world) == ["c1", "s1"]


async def test_a_sandbox_that_could_not_be_made_is_forgotten_when_the_daemon_is_back(world: World) -> None:
    await world.daemon.aclose()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await world.pod()
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert kept(world) == ["s1"]
    await world.restart_daemon()
    await until(lambda: kept(world) == [])
