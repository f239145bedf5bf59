"""The users of a sandbox's processes: numbers without an account, which no other sandbox has while it lives.

QEMU and the vsock daemon parse what a guest writes. Each has a user of its own, so that one that a guest has taken over
reaches neither the other nor those of other sandboxes, nor their files.
"""

from dataclasses import dataclass
from pathlib import Path

from vmsandbox.claims.numbers import Claims
from vmsandbox.process import Account


@dataclass(frozen=True, slots=True)
class MachineUsers:
    """The accounts of one sandbox."""

    qemu: Account
    """QEMU's; its group is that of /dev/kvm, which all QEMUs have, and which owns nothing of a sandbox."""
    vsock: Account
    """The vsock daemon's, where the host's kernel has no vhost_vsock."""


class UserRange:
    """Gives each sandbox its users, in every process of this host: claims in files (`claims.Claims`)."""

    def __init__(self, directory: Path, numbers: range, qemu_group: int) -> None:
        """Nothing is made before the first call.

        Args:
            directory: of the claims, shared by all processes of this host.
            numbers: user ids that nobody else on this host has; a sandbox takes two in succession.
            qemu_group: the group that may open /dev/kvm.
        """
        self._claims = Claims(directory, numbers[: len(numbers) // 2 * 2 : 2], "pairs of user ids")
        self._qemu_group = qemu_group

    def allocate(self, owner: str) -> MachineUsers:
        """Return the owner's users: those that it has, or free ones. Raises ResourceExhausted where all are taken."""
        first = self._claims.allocate(owner)
        return MachineUsers(Account(first, self._qemu_group), Account(first + 1, first + 1))

    def release(self, owner: str) -> None:
        """Give the owner's users back, when no process and no file of theirs is left. Succeeds where it has none."""
        self._claims.release(owner)
