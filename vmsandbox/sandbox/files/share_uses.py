"""The users of each place below a share: one empty file per user, `NAME/CONTAINER`, which survives the daemon.

A use is noted before the place is made, and forgotten after it is gone: what a killed process leaves is found.
"""

from pathlib import Path


class ShareUses:
    """The uses of one sandbox's places."""

    def __init__(self, directory: Path) -> None:
        """`directory` is made with the first use; machines of an older version have none."""
        self._directory = directory

    def add(self, name: str, *containers: str) -> None:
        """Note that containers use a place."""
        place = self._directory / name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for container in containers:
            (place / container).touch()

    def names(self) -> frozenset[str]:
        """The places that are used."""
        return frozenset(place.name for place in self._directory.glob("*"))

    def users(self, name: str) -> frozenset[str]:
        """The containers that use a place."""
        return frozenset(use.name for use in (self._directory / name).glob("*"))

    def of(self, container: str) -> list[str]:
        """The places that a container uses."""
        return sorted(use.parent.name for use in self._directory.glob(f"*/{container}"))

    def remove(self, name: str, *containers: str) -> None:
        """Forget that containers use a place. Succeeds where they do not."""
        place = self._directory / name
        for container in containers:
            (place / container).unlink(missing_ok=True)
        if place.is_dir() and not self.users(name):
            place.rmdir()
