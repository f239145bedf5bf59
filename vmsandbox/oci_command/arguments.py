"""The arguments, as runc takes them: global options, the command, its options, its operands.

argparse takes longer to import than the rest of the command, and mixes options with operands, which an `exec` has of
its own. Options are written `--name VALUE`, `--name=VALUE` or `-n VALUE`, with one dash or two, as in Go programs.
"""

from collections.abc import Mapping, Sequence

from vmsandbox.oci_command.errors import CommandError, UnknownCommand

PROGRAM = "vmsandbox-oci"


class Syntax:
    """The options of one level, from words such as `bundle|b=`: a name, a short form, `=` where it takes a value."""

    # A dataclass would load more modules than the rest of the command.
    def __init__(self, options: str) -> None:
        """Read the words."""
        self.names: list[str] = []
        self._by_form: dict[str, tuple[str, bool]] = {}
        for word in f"{options} help|h".split():
            forms = word.rstrip("=").split("|")
            self.names.append(" ".join((f"--{forms[0]}", *(f"(-{short})" for short in forms[1:]))))
            for form in forms:
                self._by_form[form] = (forms[0], word.endswith("="))

    def find(self, form: str) -> tuple[str, bool]:
        """Return an option's name, and whether it takes a value. Raises CommandError: there is none."""
        try:
            return self._by_form[form]
        except KeyError:
            raise CommandError(f"flag provided but not defined: -{form}") from None


class CommandSyntax(Syntax):
    """One command: its options, its operands, how many of them there can be, and what it does."""

    def __init__(self, options: str, operands: str, least: int, most: int | None, summary: str) -> None:
        """`most` is None where there can be any number."""
        super().__init__(options)
        self.operands = operands
        self.summary = summary
        self._least = least
        self._most = most

    def check(self, command: str, operands: Sequence[str]) -> None:
        """Raise CommandError for the wrong number of operands, as runc says it."""
        if self._most is not None and self._least == self._most != len(operands):
            raise CommandError(f'{PROGRAM}: "{command}" requires exactly {self._least} argument(s)')
        if len(operands) < self._least:
            raise CommandError(f'{PROGRAM}: "{command}" requires a minimum of {self._least} argument(s)')
        if self._most is not None and len(operands) > self._most:
            raise CommandError(f'{PROGRAM}: "{command}" requires a maximum of {self._most} argument(s)')


GLOBAL = Syntax("root= log= log-format= debug systemd-cgroup socket= profile= rootless= version|v")
"""The global options."""

_NEW = "bundle|b= console-socket= pid-file= no-pivot no-new-keyring preserve-fds="
_ID = "<container-id>"

COMMANDS: Mapping[str, CommandSyntax] = {
    "create": CommandSyntax(_NEW, _ID, 1, 1, "create a container"),
    "delete": CommandSyntax("force|f", _ID, 1, 1, "delete what a container holds"),
    "events": CommandSyntax("interval= stats", _ID, 1, 1, "print what a container uses, again and again"),
    "exec": CommandSyntax(
        "console-socket= cwd= env|e= tty|t user|u= additional-gids|g= process|p= detach|d pid-file= process-label= "
        "apparmor= no-new-privs cap|c= preserve-fds= ignore-paused",
        f"{_ID} [COMMAND...]",
        1,
        None,
        "run another process in a container",
    ),
    "features": CommandSyntax("", "", 0, 0, "print what this runtime can do"),
    "kill": CommandSyntax("all|a", f"{_ID} [SIGNAL]", 1, 2, "send a signal to a container's first process"),
    "list": CommandSyntax("format|f= quiet|q", "", 0, 0, "print the containers of the root directory"),
    "pause": CommandSyntax("", _ID, 1, 1, "keep all processes of a container from running"),
    "ps": CommandSyntax("format|f=", f"{_ID} [ps options]", 1, None, "print the processes of a container"),
    "resume": CommandSyntax("", _ID, 1, 1, "let the processes of a paused container go on"),
    "run": CommandSyntax(f"{_NEW} detach|d keep no-subreaper", _ID, 1, 1, "create and start a container"),
    "spec": CommandSyntax("bundle|b= rootless", "", 0, 0, "make a config.json to begin with"),
    "start": CommandSyntax("", _ID, 1, 1, "let the process of a container that was created run"),
    "state": CommandSyntax("", _ID, 1, 1, "print the state of a container"),
    "update": CommandSyntax(
        "resources|r= blkio-weight= cpu-period= cpu-quota= cpu-share= cpu-rt-period= cpu-rt-runtime= cpuset-cpus= "
        "cpuset-mems= memory= memory-reservation= memory-swap= pids-limit= l3-cache-schema= mem-bw-schema= "
        "kernel-memory= kernel-memory-tcp=",
        _ID,
        1,
        1,
        "change the limits of a container",
    ),
}
"""The commands of this program."""

KNOWN_ELSEWHERE = frozenset({"checkpoint", "restore"})
"""Commands of runc that this one does not have."""


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

    def __init__(self, options: Options, command: str, own: Options, operands: list[str]) -> None:
        """See the class."""
        self.options = options
        self.command = command
        self.own = own
        self.operands = operands

    @property
    def container_id(self) -> str:
        """The first operand. Raises CommandError: it is empty."""
        if not self.operands[0]:
            raise CommandError("container id cannot be empty")
        return self.operands[0]


def parse(line: Sequence[str]) -> Arguments:
    """Read a command line, without the program's name. Raises CommandError: what is wrong with it."""
    options, rest = parse_options(line, GLOBAL)
    if not rest:
        return Arguments(options, "", Options(), [])
    command, *rest = rest
    if command in KNOWN_ELSEWHERE:
        raise CommandError(f"{PROGRAM} does not have the command {command!r} of runc")
    if command not in COMMANDS:
        raise UnknownCommand(f"No help topic for '{command}'; the commands are {', '.join(COMMANDS)}")
    syntax = COMMANDS[command]
    own, operands = parse_options(rest, syntax)
    if operands[:1] == ["--"]:
        operands = operands[1:]
    if "help" not in own:
        syntax.check(command, operands)
    return Arguments(options, command, own, operands)


def parse_options(line: Sequence[str], known: Syntax) -> tuple[Options, list[str]]:
    """Read the options at the beginning; return them, and what follows. Raises CommandError."""
    options, at = Options(), 0
    while at < len(line) and line[at].startswith("-") and line[at] not in ("-", "--"):
        form, equals, value = line[at].lstrip("-").partition("=")
        name, takes_value = known.find(form)
        at += 1
        if takes_value and not equals:
            if at == len(line):
                raise CommandError(f"flag needs an argument: -{form}")
            value, at = line[at], at + 1
        if takes_value or value != "false":  # As Go has it: --name=false is as good as none.
            options.add(name, value)
    return options, list(line[at:])


def usage(command: str) -> str:
    """Return the help for a command, or without one for all of them."""
    if command:
        known = COMMANDS[command]
        text = f"{PROGRAM} {command} - {known.summary}\n\n{PROGRAM} {command} [options] {known.operands}".rstrip()
        return f"{text}\n\nOptions: {', '.join(known.names)}"
    commands = "\n".join(f"  {name:<9} {known.summary}" for name, known in COMMANDS.items())
    return (
        f"{PROGRAM} [options] COMMAND\n\nAn OCI runtime whose containers are in virtual machines of `vmsandbox serve` "
        f"(docs/oci.md).\n\nCommands:\n{commands}\n\nOptions: {', '.join(GLOBAL.names)}"
    )
