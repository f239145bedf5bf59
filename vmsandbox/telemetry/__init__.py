"""The daemon's figures and traces, as the code that causes them sees them: declared here, recorded from everywhere.

A metric is declared once, in `declared`. Code records into it (`PULLS.add("ok")`), and surrounds what takes long with
a `step`, which is a figure and a span at once. Without an exporter (`vmsandbox.exporters`) both do nothing, at the cost
of a look at a variable: `recording` and `tracing` say who takes what is recorded.

The values of labels are words of this program, never a name, an id or a text that a pod, a guest or a registry chose.
"""

from vmsandbox.telemetry import declared
from vmsandbox.telemetry.metric import Counter, Gauge, Histogram, Metric, Sink, recording
from vmsandbox.telemetry.steps import Step, code_of, guest_phases, outcome, phases, step
from vmsandbox.telemetry.traces import Tracer, call_span, is_traced, past_span, span, tracing

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "Metric",
    "Sink",
    "Step",
    "Tracer",
    "call_span",
    "code_of",
    "declared",
    "guest_phases",
    "is_traced",
    "outcome",
    "past_span",
    "phases",
    "recording",
    "span",
    "step",
    "tracing",
]
