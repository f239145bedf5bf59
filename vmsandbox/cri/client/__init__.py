"""A client of the daemon: the CRI's calls in the model's words, for the command line.

Client have the names of `vmsandbox.service.RuntimeService` where they do the same. Cancelling one cancels it in the
daemon. What the daemon refuses is raised as the error of `vmsandbox.errors` that it was there.
"""

from typing import TYPE_CHECKING

from vmsandbox.protocol.faces import face

if TYPE_CHECKING:
    from vmsandbox.cri.client.client import CriClient
    from vmsandbox.cri.client.dialling import connected, connected_if_served, connected_to_all
    from vmsandbox.cri.client.statistics import Reading

__all__ = ["CriClient", "Reading", "connected", "connected_if_served", "connected_to_all"]

__getattr__ = face(
    __name__,
    client="CriClient",
    dialling="connected connected_if_served connected_to_all",
    statistics="Reading",
)
