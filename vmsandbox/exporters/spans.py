"""Spans as OpenTelemetry makes them. Only a daemon that is asked for traces imports this."""

import contextlib
import platform
import time
from collections.abc import Iterator, Mapping

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from typing_extensions import override

from vmsandbox import log
from vmsandbox.telemetry import Tracer
from vmsandbox.version import VERSION

_CHANGING = (
    "Run", "Stop", "Remove", "Create", "Start", "Update", "Exec", "Attach", "PortForward", "Pull", "Reopen", "End",
    "Signal",
)  # fmt: skip
"""How the names of calls begin that change something. The others, which a kubelet makes each second, begin no trace."""


class OtelTracer(Tracer):
    """Hands spans to a processor, which is the caller's."""

    def __init__(self, processor: SpanProcessor, sampling: float) -> None:
        """Trace that part of the calls whose caller has not decided."""
        attributes = {"service.name": "vmsandbox", "service.version": VERSION, "host.name": platform.node()}
        sampler = ParentBased(TraceIdRatioBased(sampling))
        provider = TracerProvider(sampler, Resource(attributes), shutdown_on_exit=False)
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("vmsandbox", VERSION)
        self._headers = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    @override
    def call(self, method: str, headers: Mapping[str, str]) -> Iterator[str]:
        context = self._headers.extract(headers)
        theirs = trace.get_current_span(context).get_span_context()
        if not theirs.is_valid and not method.startswith(_CHANGING):
            yield ""
            return
        attributes = {"rpc.system": "grpc", "rpc.method": method, **_subject()}
        with self._tracer.start_as_current_span(
            method, context, trace.SpanKind.SERVER, attributes, record_exception=False
        ) as span:
            known = theirs.is_valid or span.is_recording()
            yield trace.format_trace_id(span.get_span_context().trace_id) if known else ""

    @contextlib.contextmanager
    @override
    def span(self, name: str) -> Iterator[None]:
        if not trace.get_current_span().get_span_context().is_valid:  # The call is not traced.
            yield
            return
        with self._tracer.start_as_current_span(name, attributes=_subject(), record_exception=False):
            yield

    @override
    def past(self, name: str, begin: float, end: float) -> None:
        if trace.get_current_span().is_recording():
            now = time.time_ns()
            span = self._tracer.start_span(name, attributes=_subject(), start_time=now - int(begin * 1e9))
            span.end(now - int(end * 1e9))


def _subject() -> dict[str, str]:
    """Name the pod and the container, in the words of OpenTelemetry's conventions."""
    subject = log.current_subject()
    if subject is None:
        return {}
    known = {
        "k8s.namespace.name": subject.namespace,
        "k8s.pod.name": subject.name,
        "k8s.pod.uid": subject.uid,
        "vmsandbox.sandbox.id": subject.pod_id,
        "container.id": subject.container_id,
        "k8s.container.name": subject.container,
    }
    return {key: value for key, value in known.items() if value}
