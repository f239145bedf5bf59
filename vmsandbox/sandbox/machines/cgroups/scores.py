"""Which machine the kernel kills first when the host or a pod's cgroup is out of memory: oom_score_adj (proc(5)). Pure.

A machine is killed as its pod's containers would be without one. The kubelet gives a container -997 in a guaranteed
pod, 1000 in a best-effort pod, and 1000 - 1000 * request / capacity, between 3 and 999, in a burstable one. A machine
holds all that its containers request, and gets what the kubelet would give to one container that requests as much.
"""

import re
from collections.abc import Iterable

from vmsandbox.model import Resources

DEFAULT = 500
"""The score of a machine about which nothing is known: it is killed before the node's own services."""
_MOST, _MOST_BURSTABLE, _LEAST_BURSTABLE = 1000, 999, 3
_GUARANTEED = -997

_POD = re.compile(
    r"kubepods(?:\.slice)?(?:[/-](?:kubepods-)?(?P<qos>besteffort|burstable))?(?:\.slice)?[/-].*pod[^/]+$"
)
"""A pod's cgroup as the kubelet names it, of either driver."""


def score_of(cgroup_parent: str, containers: Iterable[Resources]) -> int:
    """The score for a machine.

    Args:
        cgroup_parent: CRI LinuxPodSandboxConfig.cgroup_parent, in which the kubelet names the pod's QoS class.
        containers: the resources of those that exist. Without one that has a score, the QoS class decides: nothing of
            a burstable pod that boots is worth more than anything else.
    """
    scores = [resources.oom_score_adj for resources in containers if resources.oom_score_adj]
    if not scores:
        return _score_by_class(cgroup_parent)
    if len(scores) == 1 or min(scores) < 0:
        return min(scores)
    requested = sum(_MOST - score for score in scores)
    return _MOST if requested == 0 else min(max(_MOST - requested, _LEAST_BURSTABLE), _MOST_BURSTABLE)


def _score_by_class(cgroup_parent: str) -> int:
    if (pod := _POD.search(cgroup_parent)) is None:
        return DEFAULT
    return {"besteffort": _MOST, "burstable": _MOST_BURSTABLE, None: _GUARANTEED}[pod["qos"]]
