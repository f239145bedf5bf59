"""The CRI's RuntimeService: every call of the bindings, by families."""

from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri.about import AboutCalls
from vmsandbox.cri.containers import ContainerCalls
from vmsandbox.cri.metric_calls import MetricCalls
from vmsandbox.cri.sandboxes import SandboxCalls
from vmsandbox.cri.statistics import StatisticsCalls
from vmsandbox.cri.streams import StreamCalls


class RuntimeServicer(
    AboutCalls,
    SandboxCalls,
    ContainerCalls,
    StreamCalls,
    StatisticsCalls,
    MetricCalls,
    api_pb2_grpc.RuntimeServiceServicer,
):
    """runtime.v1.RuntimeService, in front of `vmsandbox.service.RuntimeService`."""
