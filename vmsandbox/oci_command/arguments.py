"""The arguments, as runc takes them: global options, the command, its options, its operands.

argparse takes longer to import than the rest of the command, and mixes options with operands, which an `exec` has of
its own. Options are written `--name VALUE`, `--name=VALUE` or `-n VALUE`, with one dash or two, as in Go programs.
"""

from collections.abc import Mapping, Sequence

from vmsandbox.oci_command.errors import CommandError

GLOBAL: Mapping[str, bool] = {
    "root": True,
    "log": True,
    "log-format": True,
    "debug": False,
    "systemd-cgroup": False,
    "socket": True,
    "profile": True,
    "rootless": True,
    "help": False,
    "version": False,
}
"""The global options, and whether each takes a value."""

_SHORT = {"a": "all", "f": "force", "b": "bundle", "d": "detach", "p": "process", "t": "tty", "e": "env", "u": "user",
          "q": "quiet", "h": "help", "v": "version"}  # fmt: skip

_CREATE = {"bundle": True, "console-socket": True, "pid-file": True, "no-pivot": False, "no-new-keyring": False,
           "preserve-fds": True}  # fmt: skip
_EXEC = {"process": True, "detach": False, "tty": False, "console-socket": True, "pid-file": True, "cwd": True,
         "env": True, "user": True, "additional-gids": True, "preserve-fds": True, "no-new-privs": False}  # fmt: skip

COMMANDS: Mapping[str, tuple[Mapping[str, bool], str]] = {
    "create": (_CREATE, "ID"),
    "start": ({}, "ID"),
    "state": ({}, "ID"),
    "kill": ({"all": False}, "ID [SIGNAL]"),
    "delete": ({"force": False}, "ID"),
    "exec": (_EXEC, "ID [COMMAND...]"),
    "list": ({"format": True, "quiet": False}, ""),
    "features": ({}, ""),
}
"""The commands: their options, and their operands."""

KNOWN_ELSEWHERE = frozenset({"checkpoint", "events", "pause", "ps", "restore", "resume", "run", "spec", "update"})
"""Commands of runc that this one does not have (yet)."""


class Options:
    """Options of one level: the value of each, an empty text for one without a value; the last one counts."""

    def __init__(self) -> None:
        """None is given yet."""
        self._every: list[tuple[str, str]] = []

    def __contains__(self, name: str) -> bool:
        """Whether the option is given."""
        return any(each == name for each, _ in self._every)

    def get(self, name: str, default: str = "") -> str:
        """Return the value of an option."""
        return next((value for each, value in reversed(self._every) if each == name), default)

    def repeated(self, name: str) -> list[str]:
        """Return all values of an option."""
        return [value for each, value in self._every if each == name]

    def add(self, name: str, value: str) -> None:
        """Note an option."""
        self._every.append((name, value))


class Arguments:
    """A command line that can be understood: the global options, the command, its own options, its operands."""

    # A dataclass would load more modules than the rest of the command.
    def __init__(self, options: Options, command: str, own: Options, operands: list[str]) -> None:
        """See the class."""
        self.options = options
        self.command = command
        self.own = own
        self.operands = operands

    @property
    def container_id(self) -> str:
        """The first operand. Raises CommandError: there is none."""
        if not self.operands or not self.operands[0]:
            raise CommandError(f"vmsandbox-oci {self.command} needs {COMMANDS[self.command][1]}")
        return self.operands[0]


def parse(line: Sequence[str]) -> Arguments:
    """Read a command line, without the program's name. Raises CommandError: what is wrong with it."""
    options, rest = parse_options(line, GLOBAL)
    if not rest:
        return Arguments(options, "", Options(), [])
    command, *rest = rest
    if command in KNOWN_ELSEWHERE:
        raise CommandError(f"vmsandbox-oci does not have the command {command!r} of runc")
    if command not in COMMANDS:
        raise CommandError(f"there is no command {command!r}; there are {', '.join(COMMANDS)}")
    own, operands = parse_options(rest, COMMANDS[command][0])
    if operands[:1] == ["--"]:
        operands = operands[1:]
    return Arguments(options, command, own, operands)


def parse_options(line: Sequence[str], known: Mapping[str, bool]) -> tuple[Options, list[str]]:
    """Read the options at the beginning; return them, and what follows. Raises CommandError."""
    options, at = Options(), 0
    while at < len(line) and line[at].startswith("-") and line[at] not in ("-", "--"):
        name, equals, value = line[at].lstrip("-").partition("=")
        name = _SHORT.get(name, name)
        if name not in known:
            raise CommandError(f"flag provided but not defined: -{name}")
        at += 1
        if known[name] and not equals:
            if at == len(line):
                raise CommandError(f"flag needs an argument: -{name}")
            value, at = line[at], at + 1
        if known[name] or value != "false":  # As Go has it: --name=false is as good as none.
            options.add(name, value)
    return options, list(line[at:])
