"""The one place that starts programs: with what each may do, and how it is found again.

`run` is for a command that ends by itself, `start_daemon` for a helper that outlives the call and this process.
"""

from vmsandbox.process.commands import STDERR_KEPT, Completed, echoing, run, start_daemon
from vmsandbox.process.confinement import TOOLS, Account, Confinement, Limits
from vmsandbox.process.identity import ProcessIdentity, name_of, oom_score_of, stat_of, user_of
from vmsandbox.process.namespaces import IPC, NETWORK, UTS, enter, name_network, unshare
from vmsandbox.process.removal import remove_tree, remove_tree_blocking
from vmsandbox.process.usage import ProcessUsage, sizes_in, usage_of
from vmsandbox.process.users import end_processes_of, processes_and_users

__all__ = [
    "IPC",
    "NETWORK",
    "STDERR_KEPT",
    "TOOLS",
    "UTS",
    "Account",
    "Completed",
    "Confinement",
    "Limits",
    "ProcessIdentity",
    "ProcessUsage",
    "echoing",
    "end_processes_of",
    "enter",
    "name_network",
    "name_of",
    "oom_score_of",
    "processes_and_users",
    "remove_tree",
    "remove_tree_blocking",
    "run",
    "sizes_in",
    "start_daemon",
    "stat_of",
    "unshare",
    "usage_of",
    "user_of",
]
