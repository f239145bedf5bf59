"""The cgroups of containers: what is measured in them, what they may take, and the end of what thrashes in them."""

from vmsandbox_agent.measures.cgroup import Cgroup
from vmsandbox_agent.measures.layers import Counter, WritableLayer, file_system
from vmsandbox_agent.measures.pod_cgroup import PodCgroup
from vmsandbox_agent.measures.thrashing import ThrashingWatch

__all__ = ["Cgroup", "Counter", "PodCgroup", "ThrashingWatch", "WritableLayer", "file_system"]
