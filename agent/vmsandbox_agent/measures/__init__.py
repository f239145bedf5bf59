"""The measures of containers, read from their cgroups, and the end of a container that thrashes for want of memory."""

from vmsandbox_agent.measures.cgroup import Cgroup
from vmsandbox_agent.measures.layers import Counter, Layer, file_system
from vmsandbox_agent.measures.thrashing import Watch

__all__ = ["Cgroup", "Counter", "Layer", "Watch", "file_system"]
