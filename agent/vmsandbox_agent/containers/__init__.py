"""The containers of the guest and their processes, run by crun(1) from bundles that are made here."""

from vmsandbox_agent.containers.context import AgentContext
from vmsandbox_agent.containers.crun import Crun
from vmsandbox_agent.containers.table import ContainerTable
from vmsandbox_agent.containers.warming import boots_for_nobody, warm_up_at_boot

__all__ = ["AgentContext", "ContainerTable", "Crun", "boots_for_nobody", "warm_up_at_boot"]
