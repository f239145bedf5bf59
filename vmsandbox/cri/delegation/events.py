"""The events of two runtimes as one stream."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from cri_api.v1 import api_pb2 as api

from vmsandbox import aio
from vmsandbox.cri.delegation.delegate import Delegate

T = TypeVar("T")


async def both(
    ours: AsyncGenerator[api.ContainerEventResponse, None], delegate: Delegate, request: api.GetEventsRequest
) -> AsyncGenerator[api.ContainerEventResponse, None]:
    """Yield the events of both runtimes. The stream fails when one of them fails, so that the kubelet lists again.

    Raises:
        Unimplemented: the delegate gives none (containerd before 1.7). Ours alone would have a kubelet that goes by
            events never look for the delegate's containers.
    """
    async with (
        aclosing(ours),
        aclosing(delegate.events(request)) as theirs,
        aclosing(interleaved(ours, theirs)) as events,
    ):
        async for event in events:
            yield event


async def interleaved(*sources: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield the items of all sources as they arrive, until all have ended; the caller closes the sources.

    Raises:
        Exception: what the first source raised that failed.
    """
    nexts = {asyncio.ensure_future(anext(source)): source for source in sources}
    try:
        while nexts:
            done, _ = await asyncio.wait(nexts, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                source = nexts.pop(task)
                try:
                    item = task.result()
                except StopAsyncIteration:
                    continue
                nexts[asyncio.ensure_future(anext(source))] = source
                yield item
    finally:
        await aio.cancel(*nexts)
