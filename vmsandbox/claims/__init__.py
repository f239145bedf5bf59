"""Numbers that one sandbox has while it lives, among all processes of this host: CIDs, and users of its processes."""

from vmsandbox.claims.numbers import Claims
from vmsandbox.claims.users import MachineUsers, UserRange

__all__ = ["Claims", "MachineUsers", "UserRange"]
