"""Numbers that each sandbox has alone (CIDs, user ids): claims in files; processes agree, and a crash loses none.

`DIRECTORY/NUMBER` holds the owner's name. A claim lasts until it is released, not as long as the process that made
it: machines outlive the daemon. The directory belongs on a tmpfs (/run/vmsandbox/cids), since no machine
outlives the host's boot.
"""

import secrets
from collections.abc import Callable
from pathlib import Path

from vmsandbox import fs
from vmsandbox.errors import ResourceExhausted
from vmsandbox.fs.durable import replace_whole
from vmsandbox.fs.locks import locked, locked_async


class Claims:
    """Gives every owner a number of its own. Its calls are short file operations under one flock(2).

    A process that is stopped while it holds the lock holds all others up. So `allocate` waits outside of the event loop
    and can be cancelled; the other methods wait in their thread, which is not the event loop's.
    """

    def __init__(
        self,
        directory: Path,
        numbers: range,
        kind: str,
        *,
        taken: Callable[[int], bool] = lambda _number: False,
    ) -> None:
        """Keep claims in `directory`, which is made.

        Args:
            directory: shared by all processes that give out such numbers on this host.
            numbers: those that may be given.
            kind: the plural name of what the numbers are, for errors.
            taken: tells of numbers in use outside of it (`vsock.cid_is_taken`).
        """
        self._directory = directory
        self._numbers = numbers
        self._kind = kind
        self._taken = taken

    async def allocate(self, owner: str) -> int:
        """Return the owner's number: the one it has, or a free one chosen at random, so that none is soon used again.

        Raises:
            ResourceExhausted: all are taken.
        """
        async with locked_async(self._lock()):
            claims = self._claims()
            held = _held(claims, owner)
            return self._claim(owner, claims) if held is None else held

    def of(self, owner: str) -> int | None:
        """Return the owner's number; None where it has none."""
        return _held(self.owners(), owner)

    def release(self, owner: str) -> None:
        """Give the owner's number back. Succeeds where it has none."""
        with locked(self._lock()):
            for number, holder in self._claims().items():
                if holder == owner:
                    (self._directory / str(number)).unlink()

    def owners(self) -> dict[int, str]:
        """Return all claims, for a process that looks for those that a crash has left."""
        with locked(self._lock()):
            return self._claims()

    def _claim(self, owner: str, claims: dict[int, str]) -> int:
        start = secrets.randbelow(len(self._numbers))
        for step in range(len(self._numbers)):
            number = self._numbers[(start + step) % len(self._numbers)]
            if number not in claims and not self._taken(number):
                self._write(number, owner)
                return number
        raise ResourceExhausted(
            f"all {len(self._numbers)} {self._kind} are taken", hint=f"the claims are in {self._directory}"
        )

    def _write(self, number: int, owner: str) -> None:
        """A claim appears whole or not at all; files whose names are not numbers are not claims."""
        replace_whole(self._directory / str(number), owner.encode(), temporary=self._directory / ".new")

    def _claims(self) -> dict[int, str]:
        found = (path for path in self._directory.iterdir() if path.name.isdigit())
        return {int(path.name): path.read_text(encoding="utf-8") for path in found}

    def _lock(self) -> Path:
        fs.make_directory(self._directory, 0o700)
        return self._directory / ".lock"


def _held(claims: dict[int, str], owner: str) -> int | None:
    return next((number for number, holder in claims.items() if holder == owner), None)
