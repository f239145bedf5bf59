"""The life of sandboxes: started when there is room, watched, stopped, and taken back after a restart of the daemon.

`sandbox` is one, `sandboxes` all of a process. `admission` says which may start; `recovery` and `taking_back` find
again what an earlier process has left.
"""

from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.lifecycle.recovery import Recovery
from vmsandbox.sandbox.lifecycle.sandbox import Sandbox
from vmsandbox.sandbox.lifecycle.sandboxes import Sandboxes
from vmsandbox.sandbox.lifecycle.taking_back import reclaim
from vmsandbox.sandbox.lifecycle.usage import measure_each, sandbox_usage

__all__ = [
    "Admission",
    "Recovery",
    "Sandbox",
    "Sandboxes",
    "measure_each",
    "reclaim",
    "sandbox_usage",
]
