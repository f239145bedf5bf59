"""Volumes bound as a sandbox binds them, without a machine."""

import contextlib
from pathlib import Path

from vmsandbox.sandbox import mounts
from vmsandbox.sandbox.layout import SandboxLayout

_PLAIN = mounts.Access()


def bound(layout: SandboxLayout, source: Path, index: int = 0, access: mounts.Access = _PLAIN) -> Path:
    """Bind `source` as a volume of container `c`; the path at which the host would see it."""
    place = layout.place("c", index)
    with contextlib.closing(mounts.copy(source)) as tree:
        mounts.bind_served(tree, layout.share, layout.served, place, access)
    return layout.served / place
