"""Numbers and names on the host that this process of tests has for itself, since others may test at the same time."""

import os

NUMBER = os.getpid() % 250
"""Part of the names of its bridges and of its subnets."""

_COUNT = 100_000
_FIRST = 1_910_000_000 + NUMBER * _COUNT
USERS = range(_FIRST, _FIRST + _COUNT)
"""User ids of machines that only this process gives out."""


def users(part: int = 0) -> dict[str, int]:
    """Return the user ids for the configuration of a node; kinds of nodes that run side by side differ in `part`."""
    return {"first": USERS[part * 30_000], "count": 30_000}
