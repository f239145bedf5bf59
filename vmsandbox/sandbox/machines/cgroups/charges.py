"""Which cgroup each sandbox has: files that name it, so that it is found by the sandbox's id alone.

`DIRECTORY/ID` is written before the cgroup is made and removed after it. It holds the cgroup's path in each hierarchy,
and in further lines the cgroups above it that were missing and made for it, each after its hierarchy and a colon, the
innermost first. The directory belongs on a tmpfs (/run/vmsandbox/cgroups): no cgroup outlives the host's boot.
"""

from dataclasses import dataclass
from pathlib import Path

from vmsandbox import fs
from vmsandbox.fs.durable import replace_whole


@dataclass(frozen=True, slots=True)
class Charge:
    """The cgroup of one sandbox."""

    path: str
    made: tuple[str, ...] = ()
    """`HIERARCHY:PATH` of the cgroups above it that are to go with it, unless somebody uses them."""


class Charges:
    """The files of all sandboxes of this host. Its calls are short file operations, which block."""

    def __init__(self, directory: Path) -> None:
        """Keep them in `directory`, which is made when it is needed."""
        self._directory = directory

    def get(self, sandbox_id: str) -> Charge | None:
        """Return what is written for a sandbox; None where nothing is, as for machines of older versions."""
        try:
            path, *made = (self._directory / sandbox_id).read_text().splitlines()
        except (FileNotFoundError, ValueError):
            return None
        return Charge(path, tuple(made))

    def put(self, sandbox_id: str, charge: Charge) -> None:
        """Write it; atomic."""
        fs.make_directory(self._directory, 0o700)
        text = "\n".join((charge.path, *charge.made)) + "\n"
        replace_whole(self._directory / sandbox_id, text.encode(), temporary=self._directory / f".{sandbox_id}")

    def drop(self, sandbox_id: str) -> None:
        """Forget it. Succeeds where there is none."""
        (self._directory / sandbox_id).unlink(missing_ok=True)

    def made(self) -> frozenset[str]:
        """The cgroups above machines' that were made for any sandbox."""
        if not self._directory.exists():
            return frozenset()
        names = [path.name for path in self._directory.iterdir() if not path.name.startswith(".")]
        return frozenset(made for name in names if (charge := self.get(name)) for made in charge.made)
