"""vmsandbox and containerd with runc, the judge, side by side: what holds under one has to hold under the other."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.conformance import Serving, serving
from tests.support.conformance_client import Cri, Pod
from tests.support.containerd import Containerd, running_containerd


@dataclass(frozen=True)
class Judge:
    """A containerd that runs, and its client."""

    containerd: Containerd
    cri: Cri

    @property
    def process(self) -> int:
        """The pid of containerd."""
        assert self.containerd.process
        return self.containerd.process.pid


@contextlib.contextmanager
def both_runtimes(settings: Mapping[str, Any] | None = None) -> Iterator[tuple[Serving, Judge, Path]]:
    """Run both with the same images, and a directory for volumes that any user may enter; `settings` are ours."""
    with serving(settings) as ours, tempfile.TemporaryDirectory(prefix="vms-judge-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with (
            running_containerd(directory / "containerd", ours.registry) as containerd,
            Cri.connect(containerd.socket, directory / "logs") as theirs,
        ):
            try:
                yield ours, Judge(containerd, theirs), directory
            finally:
                theirs.remove_everything()


@contextlib.contextmanager
def judged_pods(pod: Mapping[str, Any]) -> Iterator[tuple[Pod, Pod, Path]]:
    """One pod here and one of the judge's, of this configuration, and a directory for volumes that any user may enter.


    The test is skipped where the judge is not installed, or without root.
    """
    if os.geteuid() != 0:
        pytest.skip("machines and containers need root")
    if not (shutil.which("containerd") and shutil.which("runc")):
        pytest.skip("containerd and runc, the judge, are not installed")
    with (
        both_runtimes() as (ours, judge, directory),
        ours.cri.pod(**pod) as mine,
        judge.cri.pod(**pod) as theirs,
    ):
        yield mine, theirs, directory
