"""The CRI's metrics: what the kubelet passes on at /metrics/cadvisor.

One table says of each its name, help, labels and kind, and where its values come from. Descriptors and values are both
made from it, so that they cannot differ. Names and labels are those of cAdvisor, which dashboards and alerts ask for.

A value is a whole number in the unit that the metric's name says, since UInt64Value knows no other and the kubelet
passes it on as it is: seconds are whole seconds, rounded down.
"""

from vmsandbox.cri.metrics.metric import MeasuredContainer
from vmsandbox.cri.metrics.to_cri import descriptors, pod_metrics

__all__ = ["MeasuredContainer", "descriptors", "pod_metrics"]
