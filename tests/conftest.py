"""What holds for all tests: nothing outlives them."""

import signal
import time
from collections.abc import Iterator

import hypothesis
import pytest

import vmsandbox.cri  # noqa: F401 - before any test imports grpc: it says why
from tests.support import leftovers

hypothesis.settings.register_profile("unhurried", deadline=None)  # a busy machine is no defect
hypothesis.settings.load_profile("unhurried")
hypothesis.settings.register_profile("quick", parent=hypothesis.settings.get_profile("unhurried"), max_examples=25)

_SETTLE = 10.0
"""Seconds in which what was killed has to be gone."""


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "fail when anything on the host outlives the tests; pods that others run meanwhile count too"
    parser.addoption("--leftovers", action="store_true", help=text)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell that runs the tests in the background ignores SIGINT for them, and what they start would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """The session ends with what it found: no process, link, namespace, mount, loop device, lease or rule more."""
    before = leftovers.resources()
    yield
    if not request.config.getoption("--leftovers"):
        return
    deadline = time.monotonic() + _SETTLE
    while (left := leftovers.resources() - before) and time.monotonic() < deadline:
        time.sleep(0.2)  # for processes that were killed: their reaper is not ours to wait for
    assert not left, "the tests left behind:\n" + "\n".join(sorted(left))
