"""A collector of OpenTelemetry in miniature: a real receiver of OTLP over gRPC."""

import contextlib
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.hang = False

    def Export(self, request: Any, context: grpc.ServicerContext) -> trace_service_pb2.ExportTraceServiceResponse:
        while self.hang and context.is_active():
            time.sleep(0.01)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> Any:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def children(self, name: str) -> set[str]:
        return {span.name for span in self.spans if span.parent_span_id == self.named(name).span_id}


@contextlib.contextmanager
def collecting(credentials: grpc.ServerCredentials | None = None) -> Iterator[tuple[Collector, str]]:
    """A collector that runs, and its address; with credentials it speaks TLS alone."""
    collector, server = Collector(), grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield collector, f"127.0.0.1:{port}"
    finally:
        collector.hang = False
        server.stop(0).wait()
