"""`python -m tests.distributions NAME`: setup, the demo and tests in a fresh root of debian12, debian13 or ubuntu24.04.

Each step's output is passed on. At the end there is a line for docs/limitations.md's table: the versions, and what each
step came to. The exit status is 1 if a step failed. What setup downloads and builds is kept for the next time, in
`CACHE/NAME-kept`; the root itself is a new one each time. Takes a quarter of an hour, or twice that the first time.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.support.root import CACHE, Root, fresh_root

_CHECKOUT = Path(__file__).parents[1]
_PLACE = "/srv/vmsandbox"
"""The checkout. All users can read it there, as some tests need."""
_KEPT = {"/var/cache/apt/archives": "apt", "/var/cache/vmsandbox": "vmsandbox", "/root/.cache": "cache"}
"""Directories of the root by what they are called among those that are kept."""

_SUMMARY = re.compile(r"\d+ (passed|failed)\b.* in \d+")

SUITES = {"debian12": "bookworm", "debian13": "trixie", "ubuntu24.04": "noble"}
MACHINES = ("tests/e2e/test_run.py",)
"""The tests with real machines that are run by default."""


@dataclass
class Trial:
    """The steps that were run in a root, and what each came to."""

    root: Root
    results: list[str] = field(default_factory=list)
    failed: bool = False

    def step(self, name: str, *command: str, online: bool = False) -> None:
        """Run a command in the checkout, with its output passed on, whatever the steps before it came to."""
        _announce(f"{name}: {' '.join(command)}")
        begin = time.monotonic()
        argv = self.root.command(*command, online=online, cwd=_PLACE)
        last = ""
        with subprocess.Popen(
            argv,
            env=self.root.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                _say(line)
                last = line.strip() if _SUMMARY.search(line) else last
        outcome = last or f"{time.monotonic() - begin:.0f} s"
        self.failed = self.failed or process.returncode != 0
        self.results.append(f"{name}: {outcome}" if process.returncode == 0 else f"**{name} failed: {outcome}**")

    def versions(self) -> str:
        """The release and the programs on which most depends."""
        script = r""". /etc/os-release; echo "$PRETTY_NAME"; python3 --version
            qemu-system-x86_64 --version | sed -n '1s/.*version \([^ ]*\).*/QEMU \1/p'
            echo libvirt $(pkg-config --modversion libvirt)"""
        return ", ".join(self.root.run("sh", "-c", script, check=False).stdout.splitlines())


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.distributions", description=__doc__)
    parser.add_argument("name", choices=SUITES)
    parser.add_argument("tests", nargs="*", default=MACHINES, help="tests with real machines")
    given = parser.parse_args(arguments)
    _announce(f"making a fresh root of {given.name}")
    with fresh_root(SUITES[given.name], _kept(given.name)) as root:
        _copy_checkout(root)
        trial = Trial(root)
        _run(trial, given.tests)
        _say(f"| {trial.versions()} | {datetime.now(UTC):%Y-%m-%d} | {'; '.join(trial.results)} |\n")
    return int(trial.failed)


def _run(trial: Trial, tests: Sequence[str]) -> None:
    """Pods get a network of their own; what fetches packages and images does so before."""
    trial.step("provision", "examples/lab/provision.sh", online=True)
    trial.step("setup", "make", "setup", online=True)
    trial.step("setup again", "make", "setup")
    trial.step("hello image", "examples/hello-image/build.sh", online=True)
    trial.step("demo", "make", "demo", "VMSANDBOX_SMALL_KERNEL=no")
    trial.step("unit tests", "make", "unit")
    trial.step("stand-in images", ".venv/bin/python", "-m", "tests.standins", online=True)
    trial.step("tests with machines", ".venv/bin/pytest", "-q", *tests)


def _kept(name: str) -> dict[str, Path]:
    kept = {place: CACHE / f"{name}-kept" / kind for place, kind in _KEPT.items()}
    for directory in kept.values():
        directory.mkdir(parents=True, exist_ok=True)
    return kept


def _copy_checkout(root: Root) -> None:
    """Give the root the files that git knows, as they are now, in a repository of their own."""
    place = root.path / _PLACE.lstrip("/")
    place.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_CHECKOUT, check=True, capture_output=True).stdout
    names = b"\0".join(name for name in listed.split(b"\0") if name and (_CHECKOUT / name.decode()).exists())
    packed = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"], cwd=_CHECKOUT, input=names, check=True, capture_output=True
    )
    subprocess.run(["tar", "--extract", "--no-same-owner", "-C", str(place)], input=packed.stdout, check=True)
    commit = 'git init -q && git add . && git -c user.name=x -c user.email=x commit -qm "A fresh root"'
    root.run("sh", "-c", commit, cwd=_PLACE)


def _announce(text: str) -> None:
    _say(f"== {datetime.now(UTC):%H:%M:%S} {text}\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
