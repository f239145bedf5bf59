"""Machines saved in files and restored from them: their state through QEMU, and their memory beside it where it can be.

`Saving` is one machine that is saved or restored. `key_of` stands for all that such files depend on.
"""

from vmsandbox.hypervisor.libvirt.saved.saved_state import SavedState
from vmsandbox.hypervisor.libvirt.saved.saving import Saving
from vmsandbox.hypervisor.libvirt.saved.state_keys import key_of, neutral

__all__ = ["SavedState", "Saving", "key_of", "neutral"]
