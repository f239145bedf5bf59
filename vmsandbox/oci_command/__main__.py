"""The program: reads the command line, runs the command, and says what went wrong where callers look for that."""

import json
import sys

from vmsandbox.oci_command import store
from vmsandbox.oci_command.arguments import COMMANDS, GLOBAL, Options, parse, parse_options
from vmsandbox.oci_command.commands import RUNTIME_SPEC, Commands, say
from vmsandbox.oci_command.daemon import Daemon, socket_of
from vmsandbox.oci_command.errors import CommandError
from vmsandbox.version import VERSION

_USAGE = """vmsandbox-oci [--root DIR] [--log FILE] [--log-format text|json] [--socket PATH] [--profile HANDLER] COMMAND

An OCI runtime whose containers are in virtual machines of `vmsandbox serve` (docs/oci.md).

Commands:"""


def main() -> int:
    """Run the command line of this process; return its exit status."""
    line = sys.argv[1:]
    try:
        arguments = parse(line)
        if "version" in arguments.options:
            say(f"vmsandbox-oci version {VERSION}\nspec: {RUNTIME_SPEC}")
            return 0
        if not arguments.command or "help" in arguments.options:
            say(f"{_USAGE} {', '.join(COMMANDS)}")
            return 0
        options = arguments.options
        commands = Commands(
            arguments, store.Store(options.get("root", store.DEFAULT)), Daemon(socket_of(options.get("socket")))
        )
        return commands.run()
    except (CommandError, OSError) as error:
        _tell(_global_options(line), str(error))
        return 1


def _global_options(line: list[str]) -> Options:
    """The options that say where errors are to be written, also where the rest cannot be understood."""
    try:
        return parse_options(line, GLOBAL)[0]
    except CommandError:
        return Options()


def _tell(options: Options, text: str) -> None:
    """Write an error to standard error, and as runc does to its log."""
    sys.stderr.write(f"{text}\n")
    if not (path := options.get("log")):
        return
    entry = {"level": "error", "msg": text, "time": store.now()}
    as_json = options.get("log-format") == "json"
    written = json.dumps(entry) if as_json else " ".join(f"{key}={json.dumps(value)}" for key, value in entry.items())
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{written}\n")
    except OSError as error:
        sys.stderr.write(f"{path}: {error.strerror}\n")


if __name__ == "__main__":
    sys.exit(main())
