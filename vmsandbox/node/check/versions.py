"""Versions of programs that read what a guest or a registry sends, and the holes of older ones."""

import asyncio
import re
from dataclasses import dataclass

from vmsandbox import process
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import Finding

Version = tuple[int, ...]

_VERSION = re.compile(r"version (\d+(?:\.\d+)+)")
_ANSWER_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Hole:
    """A hole, and the first version of each series in which its authors closed it, the newest series last."""

    program: str
    name: str
    closed_in: tuple[Version, ...]
    about: str
    hint: str

    def is_in(self, version: Version) -> bool:
        """Whether the authors' release of that number has it; distributions close holes in older ones, too."""
        return version < self.closed_in[-1] and not any(
            version[:2] == fixed[:2] and version >= fixed for fixed in self.closed_in
        )


HOLES = (
    Hole(
        "skopeo", "CVE-2024-3727", ((1, 14, 4), (1, 15, 1)),
        "an image may have it ask registries on this host's behalf with the host's credentials",
        "pull from registries that you trust, or use a newer skopeo: Debian 13 has one, Debian 12 does not",
    ),
    Hole(
        "qemu-system-x86_64", "CVE-2024-3446", ((7, 2, 11), (8, 2, 3), (9, 0, 0)),
        "a guest may break out of its virtio console", "apt-get install --only-upgrade qemu-system-x86",
    ),
)  # fmt: skip
"""Known ones that hostile input of this project's kind reaches: a list to be kept, not a scanner."""


async def look_at_versions() -> tuple[Finding, ...]:
    """One finding for each hole that a program of this host may have, and one for each program that has none."""
    programs = tuple(dict.fromkeys(hole.program for hole in HOLES))
    answers = await asyncio.gather(*map(_version, programs))
    return tuple(
        finding
        for program, version in zip(programs, answers, strict=True)
        if version
        for finding in judge(program, version)
    )


def judge(program: str, version: Version) -> tuple[Finding, ...]:
    """Return the finding about a program in a version."""
    text = ".".join(map(str, version))
    found = tuple(
        Finding(True, f"{program} {text} may have {hole.name}: {hole.about}", hole.hint)
        for hole in HOLES
        if hole.program == program and hole.is_in(version)
    )
    return found or (Finding(True, f"{program} {text} has no known hole"),)


def parse(printed: str) -> Version:
    """The version in what a program prints for --version; empty where there is none."""
    found = _VERSION.search(printed)
    return tuple(map(int, found[1].split("."))) if found else ()


async def _version(program: str) -> Version:
    try:
        completed = await process.run([program, "--version"], timeout=_ANSWER_TIMEOUT)
    except VmsandboxError:  # `check.PROGRAMS` says what is missing
        return ()
    return parse(completed.stdout.decode(errors="replace"))
