"""Findings about the host."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Vsock:
    """How a machine's vsock device is backed.

    `socket` is the vhost-user socket of a vhost-device-vsock process; None: the host kernel's vhost_vsock.
    """

    cid: int
    socket: Path | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `vmsandbox check`."""

    ok: bool
    message: str
    hint: str = ""
    """The advice if the finding is not ok."""
