"""What cannot be asked of libvirt, CNI or the agent, kept on disk: one database of records (docs/on-disk.md)."""

from vmsandbox.state.database import State
from vmsandbox.state.records import ContainerRecord, SandboxRecord

__all__ = ["ContainerRecord", "SandboxRecord", "State"]
