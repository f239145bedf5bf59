"""The rule for all tests: nothing outlives them."""

import signal
import time

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
def signals_are_heard() -> None:
    """Hear what a shell in the background, or nohup, ignores for the tests: what they start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


_BEFORE = pytest.StashKey[frozenset[str]]()
_LEFT = pytest.StashKey[frozenset[str]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """See what is there; of several processes that test side by side the one that they belong to does it."""
    if session.config.getoption("--leftovers") and not hasattr(session.config, "workerinput"):
        session.config.stash[_BEFORE] = leftovers.resources()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The session ends with what it found: no process, link, namespace, mount, loop device, lease or rule more."""
    before = session.config.stash.get(_BEFORE, None)
    if before is None:
        return
    deadline = time.monotonic() + _SETTLE
    while (left := leftovers.resources() - before) and time.monotonic() < deadline:
        time.sleep(0.2)  # for processes that were killed: their reaper is not ours to wait for
    session.config.stash[_LEFT] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what is left."""
    if left := config.stash.get(_LEFT, frozenset()):
        terminalreporter.section("the tests left behind", red=True)
        terminalreporter.write("\n".join((*sorted(left), "")))
