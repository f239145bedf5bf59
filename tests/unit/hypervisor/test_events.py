"""Which events of libvirt's become whose end, with a connection that hands over what a test makes up."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.hypervisor_contract import next_event
from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor import MachineEvent, MachineState
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.events import EventHub

STARTED, STOPPED, CRASHED = (
    libvirt.VIR_DOMAIN_EVENT_STARTED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED,
)


class Domain:
    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name


class Libvirt:
    """A connection whose events come from another thread, as libvirt's do."""

    def __init__(self) -> None:
        self.hub = EventHub()
        self._callbacks: dict[int, tuple[Callable[..., None], Any]] = {}
        assert self.hub.subscribe(self) == [1, 2, 3]

    def domainEventRegisterAny(self, domain: None, event: int, callback: Callable[..., None], opaque: Any) -> int:
        self._callbacks[event] = callback, opaque
        return len(self._callbacks)

    async def lifecycle(self, name: str, event: int, detail: int = 0) -> None:
        await self._send(libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, name, event, detail)

    async def removed(self, name: str, alias: str) -> None:
        await self._send(libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, name, alias)

    async def refused(self, name: str, alias: str) -> None:
        await self._send(libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, name, alias)

    async def started(self, name: str) -> None:
        self.hub.expect(name)
        await self.lifecycle(name, STARTED)

    async def _send(self, event: int, name: str, *details: Any) -> None:
        callback, opaque = self._callbacks[event]
        thread = threading.Thread(target=callback, args=(self, Domain(name), *details, opaque))
        thread.start()
        thread.join()
        await asyncio.sleep(0)


@pytest.fixture
async def source() -> Libvirt:
    return Libvirt()


@pytest.mark.parametrize(
    ("event", "detail", "state", "reason"),
    [
        (STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED, MachineState.STOPPED, "destroyed"),
        (STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, MachineState.STOPPED, "shutdown"),
        (STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED, MachineState.CRASHED, "crashed"),
        (STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED, MachineState.CRASHED, "failed (QEMU has died)"),
        (STOPPED, 99, MachineState.STOPPED, "stopped"),
        (CRASHED, libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED, MachineState.CRASHED, "crashed (panicked)"),
    ],
)
async def test_an_end_has_libvirts_reason(
    source: Libvirt, event: int, detail: int, state: MachineState, reason: str
) -> None:
    events = source.hub.listen()
    await source.started("m")
    await source.lifecycle("m", event, detail)
    assert await next_event(events) == MachineEvent("m", state, reason)


async def test_a_panic_is_told_once_though_libvirt_tells_it_twice(source: Libvirt) -> None:
    events = source.hub.listen()
    await source.started("m")
    await source.lifecycle("m", CRASHED)
    await source.lifecycle("m", STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED)
    await source.started("other")
    await source.lifecycle("other", STOPPED)
    assert [(await next_event(events)).name for _ in range(2)] == ["m", "other"]


async def test_the_end_of_a_destroyed_machine_is_told_though_its_event_is_missed(source: Libvirt) -> None:
    events = source.hub.listen()
    await source.started("m")
    await source.hub.destroyed("m", deadline=0.01)
    assert await next_event(events) == MachineEvent("m", MachineState.STOPPED, "destroyed")
    await source.started("other")
    await source.lifecycle("m", STOPPED)
    await source.lifecycle("other", STOPPED)
    assert (await next_event(events)).name == "other"


async def test_the_end_of_a_destroyed_machine_is_told_with_libvirts_reason(source: Libvirt) -> None:
    events = source.hub.listen()
    for name in ("m", "other"):
        await source.started(name)
    seen = asyncio.create_task(source.hub.destroyed("m", deadline=60))
    await asyncio.sleep(0)
    await source.lifecycle("other", STOPPED)
    assert not seen.done()
    await source.lifecycle("m", STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED)
    await seen
    assert [(await next_event(events)).reason for _ in range(2)] == ["shutdown", "crashed"]
    await source.hub.destroyed("m", deadline=60)


async def test_machines_of_others_are_not_told_of(source: Libvirt) -> None:
    events = source.hub.listen()
    await source.lifecycle("foreign", STARTED)
    await source.lifecycle("foreign", STOPPED)
    await source.started("m")
    await source.lifecycle("m", STOPPED)
    assert (await next_event(events)).name == "m"


async def test_a_machine_that_goes_on_is_named_to_everybody_who_asked_and_has_not_ended(source: Libvirt) -> None:
    events, one, two = source.hub.listen(), source.hub.resumed(), source.hub.resumed()
    await source.lifecycle("foreign", libvirt.VIR_DOMAIN_EVENT_RESUMED)
    await source.started("m")
    await source.lifecycle("m", libvirt.VIR_DOMAIN_EVENT_SUSPENDED)
    await source.lifecycle("m", libvirt.VIR_DOMAIN_EVENT_RESUMED)
    for resumed in (one, two):
        async with asyncio.timeout(5):
            assert await anext(resumed) == "m"
    await source.lifecycle("m", STOPPED)
    assert (await next_event(events)).name == "m"


async def test_what_failed_to_start_has_not_ended(source: Libvirt) -> None:
    events = source.hub.listen()
    source.hub.expect("broken")
    await source.lifecycle("broken", STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED)
    source.hub.forget("broken")
    await source.started("m")
    await source.lifecycle("m", STOPPED)
    assert (await next_event(events)).name == "m"


async def test_a_start_whose_event_was_lost_is_known_all_the_same(source: Libvirt) -> None:
    source.hub.expect("m")
    source.hub.started("m")
    assert source.hub.running() == {"m"}


async def test_a_machine_that_ended_while_it_was_created_does_not_run(source: Libvirt) -> None:
    events = source.hub.listen()
    await source.started("m")
    await source.lifecycle("m", STOPPED)
    source.hub.started("m")
    assert source.hub.running() == frozenset()
    assert (await next_event(events)).name == "m"


async def test_forgetting_a_machine_that_runs_changes_nothing(source: Libvirt) -> None:
    """This happens when a second machine of the same name is refused."""
    events = source.hub.listen()
    await source.started("m")
    source.hub.expect("m")
    source.hub.forget("m")
    source.hub.forget("unknown")
    assert source.hub.running() == {"m"}
    await source.lifecycle("m", STOPPED)
    assert (await next_event(events)).name == "m"


async def test_an_end_that_nobody_saw_is_made_good_for(source: Libvirt) -> None:
    events = source.hub.listen()
    await source.started("one")
    source.hub.found(["two", "three"])
    await source.hub.missed({"one", "two"}, deadline=0.01)
    assert {await next_event(events), await next_event(events)} == {
        MachineEvent(name, MachineState.GONE, "ended while libvirt was away, for an unknown reason")
        for name in ("one", "two")
    }
    assert source.hub.running() == {"three"}


async def test_a_removal_is_told_to_those_that_wait_for_that_device(source: Libvirt) -> None:
    with source.hub.removal("m", "disk1") as removed:
        await source.removed("m", "disk2")
        await source.removed("other", "disk1")
        assert not removed.done()
        await source.removed("m", "disk1")
        await source.removed("m", "disk1")
        assert removed.done() and removed.result() is None
    await source.removed("m", "disk1")


async def test_a_refused_removal_is_an_error(source: Libvirt) -> None:
    with source.hub.removal("m", "disk1") as removed:
        await source.refused("m", "disk1")
        with pytest.raises(FailedPrecondition, match="disk1"):
            await removed


async def test_who_waits_for_a_removal_is_woken_by_the_machines_end(source: Libvirt) -> None:
    await source.started("m")
    with source.hub.removal("m", "disk1") as removed:
        await source.lifecycle("m", STOPPED)
        assert removed.done()


async def test_events_after_the_loop_has_ended_are_dropped() -> None:
    made: list[Libvirt] = []

    def run() -> None:
        async def make() -> None:
            made.append(Libvirt())

        asyncio.run(make())

    await asyncio.to_thread(run)
    await made[0].lifecycle("m", STOPPED)
