"""LinuxContainerResources."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.model import Resources


def resources_from_cri(wire: api.LinuxContainerResources) -> Resources:
    """Convert the limits of a container, of a pod or of its overhead."""
    return Resources(
        cpu_period=wire.cpu_period,
        cpu_quota=wire.cpu_quota,
        cpu_shares=wire.cpu_shares,
        memory_limit=wire.memory_limit_in_bytes,
        memory_swap_limit=wire.memory_swap_limit_in_bytes,
        oom_score_adj=wire.oom_score_adj,
        cpuset_cpus=wire.cpuset_cpus,
        cpuset_mems=wire.cpuset_mems,
        unified=dict(wire.unified),
        hugepage_limits={limit.page_size: limit.limit for limit in wire.hugepage_limits},
    )


def resources_to_cri(model: Resources) -> api.LinuxContainerResources:
    """The inverse of `resources_from_cri`."""
    return api.LinuxContainerResources(
        cpu_period=model.cpu_period,
        cpu_quota=model.cpu_quota,
        cpu_shares=model.cpu_shares,
        memory_limit_in_bytes=model.memory_limit,
        memory_swap_limit_in_bytes=model.memory_swap_limit,
        oom_score_adj=model.oom_score_adj,
        cpuset_cpus=model.cpuset_cpus,
        cpuset_mems=model.cpuset_mems,
        unified=model.unified,
        hugepage_limits=[api.HugepageLimit(page_size=s, limit=n) for s, n in model.hugepage_limits.items()],
    )
