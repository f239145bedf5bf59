"""When it is looked which machines a libvirt that was opened again still has."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from tests.fakes.hypervisor_contract import next_event
from tests.support.waiting import until
from vmsandbox import aio
from vmsandbox.errors import Unavailable
from vmsandbox.hypervisor import MachineEvent, MachineState
from vmsandbox.hypervisor.libvirt import resync
from vmsandbox.hypervisor.libvirt.events import EventHub

GONE = MachineEvent("m", MachineState.GONE, "ended while libvirt was away, for an unknown reason")


class Libvirt:
    """Lists what it is told to, once for each look; then nothing."""

    def __init__(self) -> None:
        self.hub = EventHub()
        self.opened = asyncio.Event()
        self.lists: list[tuple[str, ...] | Unavailable] = []

    async def list_names(self) -> tuple[str, ...]:
        listed = self.lists.pop(0) if self.lists else ()
        if isinstance(listed, Unavailable):
            raise listed
        return listed


@pytest.fixture
async def source(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Libvirt]:
    monkeypatch.setattr(resync, "DYING", 0.01)
    monkeypatch.setattr(resync, "_PAUSES", (0.0, 0.01, 0.01))
    source = Libvirt()
    source.hub.found(["m"])
    async with aio.background(resync.keep_resyncing(source.hub, source.list_names, source.opened)):
        yield source


@pytest.fixture
def events(source: Libvirt) -> AsyncGenerator[MachineEvent, None]:
    return source.hub.listen()


async def test_a_machine_that_is_not_there_any_more_has_ended(
    source: Libvirt, events: AsyncGenerator[MachineEvent, None]
) -> None:
    source.opened.set()
    assert await next_event(events) == GONE


async def test_a_machine_that_is_listed_at_first_has_ended_when_it_is_forgotten(
    source: Libvirt, events: AsyncGenerator[MachineEvent, None]
) -> None:
    source.lists = [("m",), ("m",), ()]
    source.opened.set()
    assert await next_event(events) == GONE


async def test_a_libvirt_that_does_not_answer_is_asked_again(
    source: Libvirt, events: AsyncGenerator[MachineEvent, None], caplog: pytest.LogCaptureFixture
) -> None:
    source.lists = [Unavailable("no answer")]
    source.opened.set()
    assert await next_event(events) == GONE
    assert "not known whether machines ended while libvirt was away: no answer" in caplog.text


async def test_every_opening_is_followed_by_looks(source: Libvirt, events: AsyncGenerator[MachineEvent, None]) -> None:
    source.lists = [("m",)] * 3
    source.opened.set()
    await until(lambda: not source.lists, 5)
    await asyncio.sleep(0.05)
    assert source.hub.running() == {"m"}
    source.opened.set()
    assert await next_event(events) == GONE
