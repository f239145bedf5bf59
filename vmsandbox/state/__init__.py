"""State that libvirt, CNI and the agent cannot tell, stored on disk (docs/on-disk.md).

`State` is the database of one process. What is put there and comes back are the records that live; how they are stored,
read by other versions and migrated is inside.
"""

from vmsandbox.state.database import Damaged, State
from vmsandbox.state.records import ContainerRecord, SandboxRecord
from vmsandbox.state.waiting import WaitingRecord

__all__ = ["ContainerRecord", "Damaged", "SandboxRecord", "State", "WaitingRecord"]
