"""When a writable layer is counted, and what is told meanwhile."""

import asyncio
from pathlib import Path

import pytest

from vmsandbox.protocol.messages import LayerMeasures
from vmsandbox_agent.measures import layers
from vmsandbox_agent.measures.layers import Counter, WritableLayer
from vmsandbox_agent.reaper import Reaper


class SlowCounter(Counter):
    """Counts when it is let; the bytes are how often it has been asked."""

    def __init__(self) -> None:
        super().__init__(Reaper())
        self.asked = 0
        self.let = asyncio.Event()
        self.cancelled = False

    async def count(self, _: Path) -> LayerMeasures | None:
        self.asked += 1
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return LayerMeasures(1, self.asked, 2)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> SlowCounter:
    monkeypatch.setattr(layers, "_PATIENCE", 0.01)
    return SlowCounter()


async def test_a_layer_is_unknown_until_it_has_been_counted(counter: SlowCounter, tmp_path: Path) -> None:
    layer = WritableLayer(counter, tmp_path)
    assert await layer.latest() is None
    assert await layer.latest() is None
    counter.let.set()
    assert await layer.latest() == LayerMeasures(1, 1, 2)
    assert counter.asked == 1


async def test_a_layer_is_not_counted_twice_within_the_interval(counter: SlowCounter, tmp_path: Path) -> None:
    layer = WritableLayer(counter, tmp_path)
    counter.let.set()
    assert await layer.latest() == await layer.latest() == LayerMeasures(1, 1, 2)
    assert counter.asked == 1


async def test_the_count_before_is_told_while_a_new_one_goes_on(
    counter: SlowCounter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_INTERVAL", 0.0)
    layer = WritableLayer(counter, tmp_path)
    counter.let.set()
    await layer.latest()
    counter.let.clear()
    assert await layer.latest() == LayerMeasures(1, 1, 2)
    await layer.close()


async def test_a_layer_that_is_removed_is_counted_no_more(counter: SlowCounter, tmp_path: Path) -> None:
    layer = WritableLayer(counter, tmp_path)
    await layer.latest()
    await layer.close()
    await layer.close()
    assert counter.cancelled
