"""A caller, and the runtime that it asks."""

import ctypes
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.unit.oci_command.caller import Caller
from vmsandbox.oci import serving_oci

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER (prctl(2))."""


@pytest.fixture(autouse=True)
def subreaper() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
async def runtime() -> AsyncIterator[OciRuntime]:
    made = OciRuntime()
    yield made
    await made.end_all()


@pytest.fixture
async def caller(runtime: OciRuntime, tmp_path: Path) -> AsyncIterator[Caller]:
    async with serving_oci(runtime, tmp_path / "oci.sock"):
        made = Caller(tmp_path)
        yield made
        made.kill_all()
