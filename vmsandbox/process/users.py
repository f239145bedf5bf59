"""The processes of users: found whoever started them, and ended."""

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from vmsandbox.process.identity import ProcessIdentity, user_of

_END_DEADLINE = 5.0
"""Seconds in which processes that were killed have ended."""


def processes_and_users() -> Iterator[tuple[int, int]]:
    """Yield the id and the real user id of every process of this host. Blocks: it reads a file for each."""
    for directory in Path("/proc").glob("[0-9]*"):
        pid = int(directory.name)
        with contextlib.suppress(OSError):  # it has ended
            yield pid, user_of(pid)


def end_processes_of(users: Collection[int]) -> list[int]:
    """Kill all processes of these users, and those that they start meanwhile. Blocks until they have ended.

    Returns:
        The ids of processes that did not end within seconds, in order; mostly there are none.
    """
    stop = stop_after_delay(_END_DEADLINE)
    retrying = Retrying(
        retry=retry_if_result(bool), wait=wait_fixed(0.02), stop=stop,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
    )  # fmt: skip
    left: list[int] = retrying(_kill, users)
    return left


def _kill(users: Collection[int]) -> list[int]:
    identities = [ProcessIdentity.of(pid) for pid, user in processes_and_users() if user in users]
    left = [identity for identity in identities if identity is not None]
    for identity in left:
        identity.kill()
    return sorted(identity.pid for identity in left)
