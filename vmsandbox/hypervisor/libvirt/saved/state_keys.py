"""One digest of all that the saved state of a machine depends on (`Hypervisor.state_key`)."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.specification import MachineSpec
from vmsandbox.process import Account

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""The id of this host's boot. Another boot may bring other features of the CPU, which a guest looks at only once."""

_NO_UUID = "00000000-0000-4000-8000-000000000000"


def neutral(spec: MachineSpec) -> MachineSpec:
    """The machine without what may differ between one that is saved and one that goes on from its state."""
    secret = Path("/secret") if spec.secret is not None else None
    machine = replace(spec.unclaimed, name="machine", uuid=_NO_UUID, title="", account=Account(0, 0), secret=secret)
    return replace(machine, console=Path("/console"))


def key_of(machine: str, version: str, files: Iterable[Path]) -> str:
    """Return the digest.

    Args:
        machine: the domain, neutral.
        version: of the programs that run it.
        files: that it is run by and boots from. They are told by size and time, since a package may replace one without
            another version, and their content is much to read.

    Raises:
        FailedPrecondition: one of the files is not there, e.g. while a package is upgraded.
    """
    try:
        found = [(str(path), state.st_size, state.st_mtime_ns) for path in files for state in (path.stat(),)]
    except OSError as error:
        raise FailedPrecondition(f"{error.filename}, of which machines are made: {error.strerror}") from None
    text = repr((machine, version, found, _BOOT_ID.read_text()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
