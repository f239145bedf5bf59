"""The forms that files of a cgroup have (the kernel's Documentation/admin-guide/cgroup-v2.rst, "Format").

All raise OSError where the kernel has no such file, or the cgroup is gone.
"""

from pathlib import Path


def number(file: Path) -> int:
    """A file of one number."""
    return int(file.read_text())


def limit(file: Path) -> int | None:
    """A file of one number, or of the word `max`, which is None."""
    text = file.read_text().strip()
    return None if text == "max" else int(text)


def counters(file: Path) -> dict[str, int]:
    """A file of `name number` lines."""
    lines = file.read_text().splitlines()
    return {name: int(count) for name, _, count in (line.partition(" ") for line in lines)}


def table(file: Path) -> dict[str, dict[str, str]]:
    """A file of `name key=value key=value` lines."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {line[0]: dict(pair.split("=", 1) for pair in line[1:]) for line in lines if line}
