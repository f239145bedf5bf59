"""Which accelerators run a guest on this host, as the last `vmsandbox` found out."""

import shutil
from pathlib import Path

from vmsandbox import fs

_KNOWN = Path("/var/lib/vmsandbox/accelerators.json")


def share_findings(state_directory: Path) -> None:
    """Give a private node what this host's own has found: trying KVM takes up to 20 seconds where it does not work."""
    fs.make_missing(state_directory, fs.PASSABLE)
    if _KNOWN.exists():
        shutil.copy(_KNOWN, state_directory)
