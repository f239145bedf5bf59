"""Each call of the CRI goes to the runtime that it concerns: one table, in front of our own handlers."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from vmsandbox.config import DelegateConfig
from vmsandbox.cri.delegation import images, metrics, runtime_info
from vmsandbox.cri.delegation.delegate import connected
from vmsandbox.cri.delegation.runtime_info import events_of_both
from vmsandbox.cri.delegation.runtimes import Call, Policy, Runtimes, answered, ended, merged
from vmsandbox.cri.interceptor import Context, Interceptor
from vmsandbox.service import RuntimeService

Route: TypeAlias = Callable[[Runtimes, Call[Any]], Awaitable[Any]]


async def _by_pod(runtimes: Runtimes, call: Call[Any]) -> Any:
    by_us = not runtimes.policy.delegates(call.request.runtime_handler, call.request.config)
    return await answered(call, by_us=by_us)


async def _by_sandbox(runtimes: Runtimes, call: Call[Any]) -> Any:
    return await answered(call, by_us=runtimes.owns_sandbox(call.request.pod_sandbox_id))


async def _by_container(runtimes: Runtimes, call: Call[Any]) -> Any:
    return await answered(call, by_us=runtimes.owns_container(call.request.container_id))


async def _end_sandbox(runtimes: Runtimes, call: Call[Any]) -> Any:
    return await ended(call, by_us=runtimes.owns_sandbox(call.request.pod_sandbox_id))


async def _end_container(runtimes: Runtimes, call: Call[Any]) -> Any:
    return await ended(call, by_us=runtimes.owns_container(call.request.container_id))


async def _create(runtimes: Runtimes, call: Call[Any]) -> Any:
    by_us = runtimes.owns_sandbox(call.request.pod_sandbox_id)
    await images.provide(runtimes, call.request, to_us=by_us)
    return await answered(call, by_us=by_us)


async def _both(_: Runtimes, call: Call[Any]) -> Any:
    return await merged(call)


ROUTES: Mapping[str, Route] = {
    "RunPodSandbox": _by_pod,
    "StopPodSandbox": _end_sandbox,
    "RemovePodSandbox": _end_sandbox,
    "PodSandboxStatus": _by_sandbox,
    "PodSandboxStats": _by_sandbox,
    "UpdatePodSandboxResources": _by_sandbox,
    "PortForward": _by_sandbox,
    "CreateContainer": _create,
    "StartContainer": _by_container,
    "StopContainer": _end_container,
    "RemoveContainer": _end_container,
    "ContainerStatus": _by_container,
    "ContainerStats": _by_container,
    "UpdateContainerResources": _by_container,
    "ReopenContainerLog": _by_container,
    "CheckpointContainer": _by_container,
    "ExecSync": _by_container,
    "Exec": _by_container,
    "Attach": _by_container,
    "ListPodSandbox": _both,
    "ListContainers": _both,
    "ListContainerStats": _both,
    "ListPodSandboxStats": _both,
    "ListMetricDescriptors": metrics.descriptors,
    "ListPodSandboxMetrics": metrics.pod_metrics,
    "UpdateRuntimeConfig": _both,
    "ImageFsInfo": _both,
    "RemoveImage": _both,
    "ListImages": images.listed,
    "ImageStatus": images.status,
    "PullImage": images.pull,
    "Status": runtime_info.status,
    "RuntimeConfig": runtime_info.runtime_config,
}
"""All but Version, which is ours alone, and GetContainerEvents, which is a stream."""


@contextlib.asynccontextmanager
async def delegating(config: DelegateConfig, service: RuntimeService) -> AsyncIterator["Router | None"]:
    """Yield the router to the configured delegate while the context lasts; None if no delegate is configured."""
    if config.socket is None:
        yield None
        return
    async with connected(config.socket) as delegate:
        yield Router(Runtimes(service, delegate, Policy.of(config)))


class Router(Interceptor):
    """Stands between the guard and our own handlers."""

    def __init__(self, runtimes: Runtimes) -> None:
        """Route between these, which are the caller's."""
        self._runtimes = runtimes

    def around_call(self, method: str, behaviour: Any) -> Any:
        """Route the call as `ROUTES` says."""
        if method not in ROUTES:
            return behaviour

        async def routed(request: Any, context: Context) -> Any:
            def theirs() -> Awaitable[Any]:
                return self._runtimes.delegate.call(method, request, context.time_remaining())

            return await ROUTES[method](self._runtimes, Call(request, lambda: behaviour(request, context), theirs))

        return routed

    def around_stream(self, method: str, behaviour: Any) -> Any:
        """The one stream there is, of events."""

        async def merged_events(request: Any, context: Context) -> AsyncIterator[Any]:
            ours = behaviour(request, context)
            async with contextlib.aclosing(events_of_both(ours, self._runtimes.delegate, request)) as found:
                async for event in found:
                    yield event

        return merged_events
