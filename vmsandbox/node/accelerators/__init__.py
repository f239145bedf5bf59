"""Which accelerators really run a guest on this host: found out by booting one, and remembered.

`probe` decides, `trial` boots, and `attempts` remembers what came of it.
"""

from vmsandbox.node.accelerators.attempts import Attempt
from vmsandbox.node.accelerators.probe import Prober

__all__ = ["Attempt", "Prober"]
