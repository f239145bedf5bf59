"""The record of a machine of the pool, from before its first resource is acquired until it is claimed or given back."""

from dataclasses import dataclass, field
from typing import Self

from vmsandbox.protocol.bounds import Count


@dataclass(frozen=True, slots=True)
class WaitingRecord:
    """A machine that belongs to nobody yet. It is stored as it is: an added field has a default (docs/on-disk.md).

    A claim writes the sandbox's record, which has the same id, before it deletes this one. Where both are there, the
    machine is the sandbox's.
    """

    id: str
    kind: str
    """The digest of all that pods have in common that may have it."""
    handler: str
    """The handler whose profile it was made by."""
    made_at: Count
    """Nanoseconds since the epoch."""
    memory: Count = 0
    """Bytes that it takes of the host."""
    secret: str = field(default="", repr=False)
    """The machine's secret in hexadecimal digits."""
    boot_id: str = ""
    """The boot id of its guest's kernel. Empty: it is still being made."""

    def restored(self) -> Self:
        """Return the record itself. Raises ValueError where its secret is damaged."""
        bytes.fromhex(self.secret)
        return self
