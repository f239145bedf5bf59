"""The CRI's RuntimeService: every call of the bindings, by families."""

from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri.servicer.containers import ContainerServicer
from vmsandbox.cri.servicer.metrics import MetricServicer
from vmsandbox.cri.servicer.runtime_info import RuntimeInfoServicer
from vmsandbox.cri.servicer.sandboxes import SandboxServicer
from vmsandbox.cri.servicer.statistics import StatisticsServicer
from vmsandbox.cri.servicer.streams import StreamServicer


class RuntimeServicer(
    RuntimeInfoServicer,
    SandboxServicer,
    ContainerServicer,
    StreamServicer,
    StatisticsServicer,
    MetricServicer,
    api_pb2_grpc.RuntimeServiceServicer,
):
    """runtime.v1.RuntimeService, in front of `vmsandbox.service.RuntimeService`."""
