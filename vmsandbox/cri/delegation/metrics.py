"""The metrics of two runtimes.

Prometheus knows one set of labels for each name, and a kubelet asks for it once, when it starts. What we have a name
for therefore has our labels, always, whichever delegate there is and whether it answers: its values are put in their
places among ours. Names that it alone has are told as it does.
"""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence

from cri_api.v1 import api_pb2 as api

from vmsandbox import log
from vmsandbox.cri.delegation.runtimes import Answer, Call, Runtimes
from vmsandbox.cri.metrics import descriptors as our_descriptors
from vmsandbox.errors import Unimplemented, VmsandboxError

_log = log.get(__name__)

_PATIENCE = 5.0
"""Seconds for which a delegate that hangs can hold up what is told of ours."""

Keys = Mapping[str, Sequence[str]]
"""The label keys of each metric, by its name."""


async def descriptors(_: Runtimes, call: Call[api.ListMetricDescriptorsResponse]) -> api.ListMetricDescriptorsResponse:
    """Ours, and those of the delegate's that have other names."""
    answer = await call.ours()
    known = _keys(answer)
    theirs = await _told(call.theirs(), api.ListMetricDescriptorsResponse())
    answer.descriptors.extend(each for each in theirs.descriptors if each.name not in known)
    return answer


async def pod_metrics(
    runtimes: Runtimes, call: Call[api.ListPodSandboxMetricsResponse]
) -> api.ListPodSandboxMetricsResponse:
    """Return the metrics of both runtimes; only ours if the delegate has none."""
    answer = await call.ours()
    theirs = await _told(call.theirs(), api.ListPodSandboxMetricsResponse())
    if theirs.pod_metrics:
        asked = runtimes.delegate.call("ListMetricDescriptors", api.ListMetricDescriptorsRequest())
        fit(theirs, _keys(await _told(asked, api.ListMetricDescriptorsResponse())))
        answer.MergeFrom(theirs)
    return answer


def fit(metrics: api.ListPodSandboxMetricsResponse, keys: Keys) -> None:
    """Give every metric that we have a name for our labels; those that it has not are empty.

    A label that only the delegate has is dropped, and with it what is then a second value under the same labels. So is
    what has no `keys`: all that is known of it is a value.
    """
    ours = _keys(api.ListMetricDescriptorsResponse(descriptors=our_descriptors()))
    for group in _groups(metrics):
        kept: dict[tuple[str, ...], api.Metric] = {}
        for metric in group.metrics:
            if (theirs := keys.get(metric.name)) is not None:
                values = dict(zip(theirs, metric.label_values, strict=False))
                metric.label_values[:] = [values.get(key, "") for key in ours.get(metric.name, theirs)]
                kept.setdefault((metric.name, *metric.label_values), metric)
        fitted = [*kept.values()]
        del group.metrics[:]
        group.metrics.extend(fitted)


def _groups(metrics: api.ListPodSandboxMetricsResponse) -> Iterator[api.PodSandboxMetrics | api.ContainerMetrics]:
    for pod in metrics.pod_metrics:
        yield pod
        yield from pod.container_metrics


def _keys(told: api.ListMetricDescriptorsResponse) -> Keys:
    return {each.name: tuple(each.label_keys) for each in told.descriptors}


async def _told(answer: Awaitable[Answer], nothing: Answer) -> Answer:
    """Return the delegate's answer, or an empty one: our metrics are useful without those of its pods."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await answer
    except Unimplemented:
        return nothing
    except TimeoutError:
        _log.warning("the delegate's metrics are missing: it did not answer within %g s", _PATIENCE)
    except VmsandboxError as error:
        _log.warning("the delegate's metrics are missing: %s", error)
    return nothing
