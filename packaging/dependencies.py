"""Copy what vmsandbox needs of this Python's packages: `python packaging/dependencies.py DIRECTORY`.

An installation so has the very versions that the checkout was tested with, libvirt-python built against the host's
libvirt among them, and no network is needed. What the tests need is left behind.
"""

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_NOT_COPIED = {"direct_url.json", "INSTALLER", "REQUESTED"}
_NOT_SHIPPED = {"tests", "test", "__pycache__"}
"""Directories of packages that only their developers use, and code that is compiled where it runs."""


def needed(name: str = "vmsandbox") -> dict[str, Distribution]:
    """Return the packages that `name` needs, directly or not, by their names; without itself."""
    found: dict[str, Distribution] = {}
    wait = [*_requirements(distribution(name), set())]
    while wait:
        requirement = wait.pop()
        key = canonicalize_name(requirement.name)
        if key not in found:
            found[key] = distribution(requirement.name)
            wait += _requirements(found[key], requirement.extras)
    return dict(sorted(found.items()))


def copy(packages: dict[str, Distribution], target: Path) -> None:
    """Copy the files of packages below `target`, which has none of them; scripts stay behind."""
    for package in packages.values():
        for file in package.files or ():
            if file.parts[0] != ".." and file.name not in _NOT_COPIED and not _NOT_SHIPPED & set(file.parts):
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target / file)


def _requirements(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in package.requires or ():
        requirement = Requirement(text)
        if any(not requirement.marker or requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


if __name__ == "__main__":
    copy(needed(), Path(sys.argv[1]))
