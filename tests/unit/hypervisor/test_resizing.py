"""Guests that do not take the size that they are given, and the size that their machine has then."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, NotFound
from vmsandbox.hypervisor.libvirt import resizing
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection
from vmsandbox.hypervisor.libvirt.resizing import Resizing
from vmsandbox.hypervisor.xml import HotPlug

MIB = 1024 * 1024
BOOTED, MOST = 256 * MIB, 2048 * MIB


class Domain:
    """A domain whose guest has `answers` for the memory that it shall have; None: it does nothing."""

    def __init__(self, has: int | None) -> None:
        self.has = has
        self.answers: Callable[[int], int | None] = lambda memory: memory
        self.requested: list[int] = []

    def look(self, _connection: object, name: str) -> tuple[HotPlug, int]:
        if self.has is None:
            raise NotFound(f"there is no machine {name}")
        return HotPlug(BOOTED, MOST), self.has

    def request(self, _connection: object, _name: str, memory: int) -> None:
        self.requested.append(memory)
        answer = self.answers(BOOTED + memory)
        if answer is not None:
            self.has = answer


class Connection:
    async def call(self, _action: str, work: Callable[[object], Any]) -> Any:
        return work(self)


def resizing_of(monkeypatch: pytest.MonkeyPatch, domain: Domain) -> Resizing:
    monkeypatch.setattr(resizing, "_look_at", domain.look)
    monkeypatch.setattr(resizing, "_request", domain.request)
    monkeypatch.setattr(resizing, "QUIET", 0.1)
    monkeypatch.setattr(resizing, "_UNDONE", 0.1)
    return Resizing(cast(LibvirtConnection, Connection()), "m")


async def test_a_guest_without_a_driver_is_a_deadline_and_nothing_is_left_requested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    domain = Domain(BOOTED)
    domain.answers = lambda _: None
    with pytest.raises(DeadlineExceeded, match="guest of m has taken 0 of 1792 MiB"):
        await resizing_of(monkeypatch, domain).resize(MOST)
    assert domain.requested == [1792 * MIB, 0] and domain.has == BOOTED


async def test_memory_in_use_is_an_error_and_what_was_free_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = Domain(MOST)
    domain.answers = lambda memory: max(memory, 1024 * MIB)
    with pytest.raises(FailedPrecondition, match=r"uses memory .* 1024 of 1792 MiB were free"):
        await resizing_of(monkeypatch, domain).resize(BOOTED)
    assert domain.has == MOST


async def test_a_guest_that_gives_nothing_back_is_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = Domain(MOST)
    domain.answers = lambda _: None
    with pytest.raises(DeadlineExceeded, match="given back 0 of 1792 MiB"):
        await resizing_of(monkeypatch, domain).resize(BOOTED)
    assert domain.requested == [0, 1792 * MIB]


async def test_a_caller_that_is_cancelled_leaves_the_old_size(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = Domain(BOOTED)
    domain.answers = lambda memory: None if memory > BOOTED else memory
    task = asyncio.create_task(resizing_of(monkeypatch, domain).resize(MOST))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert domain.requested == [1792 * MIB, 0]


async def test_a_machine_that_ends_meanwhile_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = Domain(BOOTED)

    def die(_: int) -> None:
        domain.has = None

    domain.answers = die
    with pytest.raises(NotFound, match="no machine m"):
        await resizing_of(monkeypatch, domain).resize(MOST)
