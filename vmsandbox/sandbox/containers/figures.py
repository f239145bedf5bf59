"""The usage of a guest's containers; while the guest does not answer, what it said last."""

import time
from collections.abc import Collection

from vmsandbox import log
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest import GuestClient
from vmsandbox.model import ContainerUsage

_log = log.get(__name__)

_PATIENCE = 5.0
"""Seconds for which a guest that does not answer can hold up what is told of all pods."""
_FIRST_PATIENCE = 10.0
"""Seconds for a guest whose containers are not all known yet: a busy node can take this long for a new pod."""
_KEPT = 60.0
"""Seconds for which figures are told again. They carry the time of their measurement, as the CRI's timestamps do."""


class GuestFigures:
    """The latest usage of the containers of one guest."""

    def __init__(self, sandbox_id: str) -> None:
        """Nothing is known yet."""
        self._sandbox_id = sandbox_id
        self._known: dict[str, ContainerUsage] = {}
        self._at = -_KEPT

    async def latest(self, client: GuestClient, running: Collection[str]) -> dict[str, ContainerUsage]:
        """Ask the guest; return the usage of its containers by id.

        Args:
            client: of the guest's agent.
            running: the containers that are asked about; where all are known already, there is less patience.

        Raises:
            VmsandboxError: the guest does not answer, and what it said last is too old.
        """
        known = set(running) <= self._known.keys() if self._fresh else False
        try:
            measured = await client.measure_containers(deadline=_PATIENCE if known else _FIRST_PATIENCE)
        except VmsandboxError as error:
            if not self._fresh:
                raise
            age = time.monotonic() - self._at
            _log.info("sandbox %s: figures of %.0f s ago are told again: %s", self._sandbox_id, age, error)
            return self._known
        self._known = {each.container_id: ContainerUsage(measured.at, each) for each in measured.containers}
        self._at = time.monotonic()
        return self._known

    @property
    def _fresh(self) -> bool:
        return time.monotonic() - self._at < _KEPT
