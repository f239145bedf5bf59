"""Which sandbox has which CID: claims in files, so that processes agree and a crash loses none.

`DIRECTORY/CID` holds the owner's name. A claim lasts until it is released, not as long as the process that made
it: machines outlive the daemon. The directory belongs on a tmpfs (/run/vmsandbox/cids), since no machine
outlives the host's boot.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from vmsandbox.errors import ResourceExhausted

FIRST_CID = 3
"""0 to 2 are the hypervisor, the local machine and the host (vsock(7))."""

LAST_CID = 0x7FFFFFFF


class CidAllocator:
    """Gives every owner a CID of its own. Its calls are short file operations under one flock(2)."""

    def __init__(
        self,
        directory: Path,
        *,
        taken: Callable[[int], bool] = lambda _cid: False,
        first: int = FIRST_CID,
        last: int = LAST_CID,
    ) -> None:
        """Keep claims in `directory`, which is made.

        Args:
            directory: shared by all processes that give out CIDs on this host.
            taken: tells of CIDs in use outside of it (`vsock.cid_is_taken`).
            first: the lowest CID to give.
            last: the highest.
        """
        self._directory = directory
        self._taken = taken
        self._range = range(first, last + 1)

    def allocate(self, owner: str) -> int:
        """The owner's CID: the one it has, or a free one chosen at random, so that none is soon used again.

        Raises:
            ResourceExhausted: all are taken.
        """
        with self._locked():
            claims = self._claims()
            held = [cid for cid, holder in claims.items() if holder == owner]
            return held[0] if held else self._claim(owner, claims)

    def release(self, owner: str) -> None:
        """Give the owner's CID back. Succeeds where it has none."""
        with self._locked():
            for cid, holder in self._claims().items():
                if holder == owner:
                    (self._directory / str(cid)).unlink()

    def owners(self) -> dict[int, str]:
        """All claims, for who looks for those that a crash has left."""
        with self._locked():
            return self._claims()

    def _claim(self, owner: str, claims: dict[int, str]) -> int:
        start = secrets.randbelow(len(self._range))
        for step in range(len(self._range)):
            cid = self._range[(start + step) % len(self._range)]
            if cid not in claims and not self._taken(cid):
                self._write(cid, owner)
                return cid
        raise ResourceExhausted(
            f"all {len(self._range)} vsock CIDs are taken", hint=f"the claims are in {self._directory}"
        )

    def _write(self, cid: int, owner: str) -> None:
        """A claim appears whole or not at all; other names than numbers are no claims."""
        temporary = self._directory / ".new"
        temporary.write_text(owner, encoding="utf-8")
        temporary.rename(self._directory / str(cid))

    def _claims(self) -> dict[int, str]:
        found = (path for path in self._directory.iterdir() if path.name.isdigit())
        return {int(path.name): path.read_text(encoding="utf-8") for path in found}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
