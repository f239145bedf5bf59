"""The bytes of containers and of commands in them: output on its way into the log, exec, attach, and the log read.

`output_task` moves a container's output by way of `output` into `logs`; `attach` has clients read along. `execs` runs
commands in containers. `log_reader` reads a log file, of this runtime or another one.
"""

from vmsandbox.sandbox.streams.attach import AttachedClient
from vmsandbox.sandbox.streams.exec_process import ExecProcess
from vmsandbox.sandbox.streams.execs import Execs
from vmsandbox.sandbox.streams.log_reader import LogEntry, follow_log
from vmsandbox.sandbox.streams.logs import ContainerLog
from vmsandbox.sandbox.streams.output import Readers
from vmsandbox.sandbox.streams.output_task import OutputTask, open_log

__all__ = [
    "AttachedClient",
    "ContainerLog",
    "ExecProcess",
    "Execs",
    "LogEntry",
    "OutputTask",
    "Readers",
    "follow_log",
    "open_log",
]
