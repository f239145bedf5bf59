"""The record of a sandbox, which changes here alone, and the events of the sandbox."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vmsandbox.model import ContainerEvent, ContainerEventKind, SandboxState
from vmsandbox.state import SandboxRecord, State


class SandboxKeeper:
    """Has the record of one sandbox as it is now, and writes it to the state database.

    A disk that takes no change holds nothing up: the record is written again with the next one.
    """

    def __init__(self, record: SandboxRecord, state: State, publish: Callable[[ContainerEvent], None]) -> None:
        """Begin with `record`, wherever it comes from; `publish` takes the events of the sandbox."""
        self.record = record
        self._state = state
        self._publish = publish

    @property
    def is_ready(self) -> bool:
        """Whether the sandbox is READY."""
        return self.record.state is SandboxState.READY

    def begin(self) -> None:
        """Write the record before the first step. Raises ResourceExhausted where it is not on disk."""
        self._state.put(self.record.id, self.record)

    def change(self, **changes: Any) -> None:
        """Change fields of the record."""
        self.record = replace(self.record, **changes)
        self._state.note(self.record.id, self.record)

    def delete(self) -> None:
        """Take the record off the disk. Raises ResourceExhausted where it stays."""
        self._state.delete(SandboxRecord, self.record.id)

    def discard(self) -> None:
        """Take the record off the disk; where that fails, it is logged, and the next process does it."""
        self._state.discard(SandboxRecord, self.record.id)

    def announce(self, kind: ContainerEventKind) -> None:
        """Tell everybody what has become of the sandbox."""
        self._publish(ContainerEvent(self.record.id, self.record.id, kind, time.time_ns()))
