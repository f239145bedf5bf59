"""`vmsandbox`, and `python -m vmsandbox`."""

import signal
from types import FrameType


def main() -> None:
    """Run the command line. Ctrl-C where no command's work handles it ends the process with a shell's status."""
    signal.signal(signal.SIGINT, _end)
    from vmsandbox.cli.main import main as command_line

    command_line()


def _end(number: int, _: FrameType | None) -> None:
    """Not by KeyboardInterrupt: where it meets Python building a dataclass, `python -m` dies of SIGINT at its exit."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
