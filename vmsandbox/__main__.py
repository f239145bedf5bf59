"""`vmsandbox`, and `python -m vmsandbox`."""

import os
import resource
import signal
from types import FrameType

from vmsandbox.fs import PRIVATE


def main() -> None:
    """Run the command line, whose files are its user's alone unless a command says otherwise.

    Ctrl-C where no command's work handles it ends the process with a shell's status.
    """
    os.umask(PRIVATE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold what pods keep secret
    signal.signal(signal.SIGINT, _end)
    from vmsandbox.cli import execution, standard

    standard.install()
    from vmsandbox.cli.main import main as command_line

    standard.leave(execution.status_of(command_line))


def _end(number: int, _: FrameType | None) -> None:
    """Not by an exception: one that meets a finalizer is ignored, and the process goes on; importing has many of them.

    KeyboardInterrupt that meets Python building a dataclass lets `python -m` die of SIGINT at its exit.
    """
    os._exit(128 + number)


if __name__ == "__main__":
    main()
