"""The life of sandboxes: started when there is room, watched, stopped, and taken back after a restart of the daemon.

`sandbox` is one, `sandboxes` all of a process. `admission` says which may start; `recovery` and `taking_back` find
again what an earlier process has left. `template_maker` makes what later machines go on from, and `pool` keeps machines
that wait for pods.
"""

from vmsandbox.sandbox.lifecycle.admission import Admission, AdmissionFigures
from vmsandbox.sandbox.lifecycle.details import machine_details
from vmsandbox.sandbox.lifecycle.pool import PoolFigures, WarmPool, with_id
from vmsandbox.sandbox.lifecycle.recovery import Recovery
from vmsandbox.sandbox.lifecycle.sandbox import Sandbox
from vmsandbox.sandbox.lifecycle.sandboxes import Sandboxes
from vmsandbox.sandbox.lifecycle.taking_back import reclaim
from vmsandbox.sandbox.lifecycle.template_maker import TemplateMaker
from vmsandbox.sandbox.lifecycle.usage import measure_each, sandbox_usage

__all__ = [
    "Admission",
    "AdmissionFigures",
    "PoolFigures",
    "Recovery",
    "Sandbox",
    "Sandboxes",
    "TemplateMaker",
    "WarmPool",
    "machine_details",
    "measure_each",
    "reclaim",
    "sandbox_usage",
    "with_id",
]
