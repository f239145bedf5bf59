"""The program: reads the command line, runs the command, and says what went wrong where callers look for that."""

import os
import sys

from vmsandbox.oci_command.arguments import GLOBAL, PROGRAM, Options, parse, parse_options, usage
from vmsandbox.oci_command.base import RUNTIME_SPEC, say
from vmsandbox.oci_command.commands import Commands
from vmsandbox.oci_command.daemon import Daemon, socket_of
from vmsandbox.oci_command.errors import CommandError
from vmsandbox.oci_command.log import Log, check_format
from vmsandbox.oci_command.store import DEFAULT, Store
from vmsandbox.version import VERSION


def main() -> int:
    """Run the command line of this process; return its exit status."""
    _open_streams()
    line = sys.argv[1:]
    told = _global_options(line)
    log = Log(told.get("log"), told.get("log-format"))
    try:
        return _run(line, log)
    except CommandError as error:
        log.error(str(error))
        return error.status
    except OSError as error:
        log.error(str(error))
        return 1
    except Exception as error:  # A document of another form than anybody has thought of, or a defect.
        log.error(f"{type(error).__name__}: {error}")
        return 1


def _open_streams() -> None:
    """Have three standard streams: what is opened next would else take the place of one that the caller has closed."""
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(opened, True)
    os.close(opened)


def _run(line: list[str], log: Log) -> int:
    arguments = parse(line)
    options = arguments.options
    if "version" in options:
        say(f"{PROGRAM} version {VERSION}\nspec: {RUNTIME_SPEC}")
        return 0
    if not arguments.command or "help" in options or "help" in arguments.own:
        say(usage(arguments.command))
        return 0
    check_format(options.get("log-format"))
    store, daemon = Store(options.get("root", DEFAULT)), Daemon(socket_of(options.get("socket")))
    return Commands(arguments, store, daemon, log).run()


def _global_options(line: list[str]) -> Options:
    """The options that say where errors are to be written, also where the rest cannot be understood."""
    try:
        return parse_options(line, GLOBAL)[0]
    except CommandError:
        return Options()


if __name__ == "__main__":
    sys.exit(main())
