"""The size of /dev/shm, read from the tmpfs that a caller has mounted on the host."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.oci.test_from_oci import converted
from vmsandbox.oci.shm import DEFAULT_SHM, shm_size_of


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "shm", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def bind(source: str) -> dict:
    return {"mounts": [{"destination": "/dev/shm", "type": "bind", "source": source, "options": ["bind"]}]}


@pytest.mark.skipif(os.geteuid() != 0, reason="it mounts")
def test_it_is_that_of_the_callers_tmpfs(mounted: Path) -> None:
    assert shm_size_of("/b", bind(str(mounted))) == shm_size_of(str(mounted.parent), bind(mounted.name)) == 20 << 20


def test_it_is_64_mib_where_nobody_says_it(tmp_path: Path) -> None:
    for config in ({}, {"mounts": 5}, bind(str(tmp_path)), {"mounts": [{"destination": "/dev/shm", "type": "tmpfs"}]}):
        assert shm_size_of("/b", config) == DEFAULT_SHM


def test_the_machine_has_it() -> None:
    assert converted().pod.shm_size == DEFAULT_SHM
