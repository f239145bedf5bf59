"""What containers use, from what the guest measures; the guest is hostile, so that its numbers are only told on."""

from vmsandbox.model import ContainerUsage
from vmsandbox.protocol.messages import Measures


def usage(measures: Measures, at: int) -> ContainerUsage:
    """The model of one container's measures; the working set is what the kubelet takes it for in evictions."""
    return ContainerUsage(
        at=at,
        cpu=measures.cpu,
        memory=measures.memory,
        working_set=max(0, measures.memory - measures.inactive_file),
        rss=measures.anon,
        page_faults=measures.page_faults,
        major_page_faults=measures.major_page_faults,
        memory_limit=measures.memory_limit,
    )
