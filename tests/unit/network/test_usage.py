"""Counters of many pods at the same time."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.network import FakeNetwork
from tests.fakes.network_contract import new_pod
from vmsandbox.config import NetworkConfig
from vmsandbox.network import namespace
from vmsandbox.network.network import Network


async def test_the_counters_of_many_pods_are_read_by_a_few_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wants the interpreter for its whole work, and the event loop waits for its turn among them."""
    reading, most = 0, 0

    async def read(*_: object) -> None:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0)
        reading -= 1

    pod = await FakeNetwork().set_up(new_pod())
    monkeypatch.setattr(namespace, "run", read)
    network = Network(NetworkConfig(tmp_path), tmp_path)
    await asyncio.gather(*(network.usage(pod) for _ in range(100)))
    assert most == 4
