"""Loop devices, which other programs take at the same time. The kernel's part is in tests/e2e."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vmsandbox.fs import block


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Have LOOP_CONFIGURE fail with these errors in turn, and then succeed; the list is of the devices that it got."""

    def answer(*errors: int) -> list[int]:
        left, asked = iter(errors), list[int]()

        def ioctl(loop: int, request: int, argument: bytes) -> int:
            asked.append(loop)
            if number := next(left, 0):
                raise OSError(number, os.strerror(number))
            return 0

        monkeypatch.setattr(block, "_free_loop", lambda control, flags: os.open("/dev/null", flags))
        monkeypatch.setattr(fcntl, "ioctl", ioctl)
        return asked

    return answer


def loop_over(path: Path) -> int:
    file = os.open(path, os.O_RDWR)
    try:
        return block.loop_over(file)
    finally:
        os.close(file)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_loop_device_that_another_process_takes_meanwhile_is_left_to_it(
    tmp_path: Path, configure: Callable[..., list[int]]
) -> None:
    (tmp_path / "file").touch()
    asked, before = configure(errno.EBUSY, errno.EBUSY), open_files()
    loop = loop_over(tmp_path / "file")
    assert (len(asked), loop, open_files()) == (3, asked[-1], before + 1)
    os.close(loop)


@pytest.mark.parametrize(
    ("error", "attempts", "says"), [(errno.EBUSY, 16, "no loop device is free"), (errno.EPERM, 1, "not permitted")]
)
def test_a_loop_device_that_is_not_available_is_refused_and_stays_closed(
    tmp_path: Path, configure: Callable[..., list[int]], error: int, attempts: int, says: str
) -> None:
    (tmp_path / "file").touch()
    asked, before = configure(*[error] * 20), open_files()
    with pytest.raises(OSError, match=says) as raised:
        loop_over(tmp_path / "file")
    assert (raised.value.errno, len(asked), open_files()) == (error, attempts, before)
