"""One sandbox's machine: acquired and booted, or found again after a restart, confined, and given back.

`host` is what all of them are made with. `machine` acquires, `cgroup` confines, `running_machine` holds all that goes
with one that runs, and `teardown` gives back by the sandbox's id alone.
"""

from vmsandbox.sandbox.machines.cgroup import MachineCgroups, let_kill_first
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.machine import Machine
from vmsandbox.sandbox.machines.running_machine import RunningMachine
from vmsandbox.sandbox.machines.teardown import give_back

__all__ = [
    "Host",
    "Machine",
    "MachineCgroups",
    "RunningMachine",
    "give_back",
    "let_kill_first",
]
