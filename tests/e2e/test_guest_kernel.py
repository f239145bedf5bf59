"""The kernel of the guest image that this host has, Debian's or the small one: what pods need is in it."""

import re
from pathlib import Path

import pytest

from tests.support import kernel_features
from tests.support.qemu import run_program


@pytest.mark.timeout(300)
def test_the_kernel_has_what_pods_and_the_agent_need(tmp_path: Path) -> None:
    printed = run_program(Path(kernel_features.__file__), tmp_path)
    outcomes = dict(re.findall(r"^feature (.+?): (.*)", printed, re.MULTILINE))
    assert outcomes == {feature.name: "ok" for feature in kernel_features.features()}, printed
