"""Helpers for tasks and for the connections of servers, which asyncio lacks."""

from vmsandbox.aio.connections import Connections
from vmsandbox.aio.tasks import attendant, background, cancel, report, to_its_end, together, unless

__all__ = ["Connections", "attendant", "background", "cancel", "report", "to_its_end", "together", "unless"]
