"""Raw block volumes: block devices and files of the host that become disks of a machine (CRI Device).

`nodes` makes the device node that QEMU opens, and is the record of the users of each device; `disks` plugs them in for
containers; `sizes` tells the guest of a device that has grown.
"""

from vmsandbox.sandbox.blocks.disks import BlockDisks
from vmsandbox.sandbox.blocks.nodes import SHARE, BlockNodes

__all__ = [
    "SHARE",
    "BlockDisks",
    "BlockNodes",
]
