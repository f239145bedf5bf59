"""The users of a sandbox's processes: numbers without an account, which no other sandbox has while it lives.

QEMU and the vsock daemon parse what a guest writes. Each has a user of its own, so that one that a guest has taken over
reaches neither the other nor those of other sandboxes, nor their files.
"""

from dataclasses import dataclass
from pathlib import Path

from vmsandbox.claims.numbers import Claims
from vmsandbox.errors import NotFound, Unavailable
from vmsandbox.process import Account, end_processes_of

_TOLD = 5
"""Processes that an error names."""


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

    async def allocate(self, owner: str) -> MachineUsers:
        """Return the owner's users: those that it has, or free ones. Raises ResourceExhausted where all are taken."""
        return self._users(await self._claims.allocate(owner))

    def of(self, owner: str) -> MachineUsers:
        """Return the users that the owner has. Blocks. Raises NotFound where it has none."""
        first = self._claims.of(owner)
        if first is None:
            raise NotFound(f"{owner} has no users")
        return self._users(first)

    def release(self, owner: str) -> None:
        """Kill what is left of the owner's users' processes, and give the users back. Succeeds where it has none.

        Blocks until the processes have ended: whoever gets a number next must not meet a process that has it. That no
        file of theirs is left is the caller's care.

        Raises:
            Unavailable: a process does not end; the users stay taken.
        """
        first = self._claims.of(owner)
        if first is None:
            return
        if left := end_processes_of((first, first + 1)):
            raise Unavailable(
                f"processes of the users {first} and {first + 1} do not end: {', '.join(map(str, left[:_TOLD]))}",
                hint="the users stay in use until the processes end; `cat /proc/PID/stack` shows what they wait for",
            )
        self._claims.release(owner)

    def _users(self, first: int) -> MachineUsers:
        return MachineUsers(Account(first, self._qemu_group), Account(first + 1, first + 1))
