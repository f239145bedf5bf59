"""vmsandbox and containerd with runc, the judge, side by side: what holds under one has to hold under the other."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.conformance import serving
from tests.support.conformance_client import Cri, Pod
from tests.support.containerd import running_containerd


@contextlib.contextmanager
def judged_pods(pod: Mapping[str, Any]) -> Iterator[tuple[Pod, Pod, Path]]:
    """One pod here and one of the judge's, of this configuration, and a directory for volumes that any user may enter.


    The test is skipped where the judge is not installed, or without root.
    """
    if os.geteuid() != 0:
        pytest.skip("machines and containers need root")
    if not (shutil.which("containerd") and shutil.which("runc")):
        pytest.skip("containerd and runc, the judge, are not installed")
    with serving() as ours, tempfile.TemporaryDirectory(prefix="vms-judge-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with (
            running_containerd(directory / "containerd", ours.registry) as containerd,
            Cri.connect(containerd.socket, directory / "logs") as theirs,
            ours.cri.pod(**pod) as mine,
            theirs.pod(**pod) as judge,
        ):
            yield mine, judge, directory
