"""One sandbox's machine: acquired and booted, or found again after a restart, confined, and given back.

`host` is what all of them are made with. `making` has a machine got (`getting`) and claimed for a pod (`claiming`),
`templates` are the saved ones that it may go on from, `ways` has its session and console; `machine` is one with all of
that. `cgroups`
confines and charges, `guest_size` resizes, `running_machine` holds all that goes with one that runs, and `teardown`
gives back by the sandbox's id alone.
"""

from vmsandbox.sandbox.machines.cgroups import (
    CgroupLimits,
    MachineCgroups,
    charge_of,
    let_kill_first,
    limits_of,
    score_of,
)
from vmsandbox.sandbox.machines.facts import facts_of
from vmsandbox.sandbox.machines.getting import Source
from vmsandbox.sandbox.machines.guest_size import GuestSize
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.late_network import join_late
from vmsandbox.sandbox.machines.machine import Machine
from vmsandbox.sandbox.machines.running_machine import RunningMachine
from vmsandbox.sandbox.machines.teardown import give_back
from vmsandbox.sandbox.machines.templates import Templates

__all__ = [
    "CgroupLimits",
    "GuestSize",
    "Host",
    "Machine",
    "MachineCgroups",
    "RunningMachine",
    "Source",
    "Templates",
    "charge_of",
    "facts_of",
    "give_back",
    "join_late",
    "let_kill_first",
    "limits_of",
    "score_of",
]
