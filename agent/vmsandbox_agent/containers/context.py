"""The context that all containers of the guest share."""

from dataclasses import dataclass

from vmsandbox_agent.containers.crun import Crun
from vmsandbox_agent.events import EventLog
from vmsandbox_agent.measures import Counter
from vmsandbox_agent.reaper import Reaper
from vmsandbox_agent.settings import Settings
from vmsandbox_agent.setup import PodNamespaces


@dataclass(frozen=True, slots=True)
class AgentContext:
    """One for the guest."""

    settings: Settings
    reaper: Reaper
    crun: Crun
    events: EventLog
    pod: PodNamespaces
    counter: Counter
