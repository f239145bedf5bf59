"""The description of a node with two runtimes, and the events of both."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from cri_api.v1 import api_pb2 as api

from vmsandbox import aio
from vmsandbox.config import HostNamespace
from vmsandbox.cri.codes import in_a_line
from vmsandbox.cri.delegation.delegate import Delegate
from vmsandbox.cri.delegation.runtimes import Call, Policy, Runtimes
from vmsandbox.errors import Unimplemented, VmsandboxError


async def status(runtimes: Runtimes, call: Call[api.StatusResponse]) -> api.StatusResponse:
    """Ours, with the delegate's handlers; a condition is met when both meet it."""
    answer = await call.ours()
    try:
        theirs = await call.theirs()
    except VmsandboxError as error:
        theirs = _unreachable(error)
    _judge(answer.status, theirs.status, {"RuntimeReady", *_network_of(runtimes.policy)})
    handlers = [handler for handler in answer.runtime_handlers if handler.name not in runtimes.policy.handlers]
    del answer.runtime_handlers[:]
    answer.runtime_handlers.extend([*handlers, *_handlers_of(runtimes, theirs)])
    return answer


async def runtime_config(_: Runtimes, call: Call[api.RuntimeConfigResponse]) -> api.RuntimeConfigResponse:
    """The delegate's, whose containers are in the host's cgroups; ours where it does not say."""
    try:
        return await call.theirs()
    except Unimplemented:
        return await call.ours()


def _network_of(policy: Policy) -> tuple[str, ...]:
    """The delegate's network counts, unless all of its pods are in the host's."""
    return ("NetworkReady",) if policy.handlers or policy.namespaces - {HostNamespace.NETWORK} else ()


def _judge(ours: api.RuntimeStatus, theirs: api.RuntimeStatus, wanted: set[str]) -> None:
    unmet = {condition.type: condition for condition in theirs.conditions if not condition.status}
    for condition in ours.conditions:
        if condition.status and condition.type in wanted and condition.type in unmet:
            condition.CopyFrom(unmet[condition.type])


def _handlers_of(runtimes: Runtimes, theirs: api.StatusResponse) -> list[api.RuntimeHandler]:
    """Return the handlers that lead to the delegate, with their features if it lists them (containerd 1.7 does not)."""
    said = {handler.name: handler for handler in theirs.runtime_handlers}
    return [said.get(name, api.RuntimeHandler(name=name)) for name in sorted(runtimes.policy.handlers)]


def _unreachable(error: VmsandboxError) -> api.StatusResponse:
    condition = api.RuntimeCondition(type="RuntimeReady", reason="DelegateNotReady", message=in_a_line(error))
    return api.StatusResponse(status=api.RuntimeStatus(conditions=[condition]))


T = TypeVar("T")


async def events_of_both(
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
