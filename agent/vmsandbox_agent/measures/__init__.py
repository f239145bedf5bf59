"""The measures of containers, read from their cgroups, and the end of a container that thrashes for want of memory."""

from vmsandbox_agent.measures.cgroup import Cgroup
from vmsandbox_agent.measures.layers import Counter, WritableLayer, file_system
from vmsandbox_agent.measures.thrashing import ThrashingWatch

__all__ = ["Cgroup", "Counter", "ThrashingWatch", "WritableLayer", "file_system"]
