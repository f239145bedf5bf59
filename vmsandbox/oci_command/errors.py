"""The one error of the command: it is printed, and the command fails."""


class CommandError(Exception):
    """A line for a person. Callers look for some phrases of runc in it, such as "container does not exist"."""

    status = 1
    """The exit status."""


class UnknownCommand(CommandError):
    """There is no such command."""

    status = 3


class InvalidId(CommandError):
    """An id has characters that it cannot have, or too many."""


class ContainerMissing(CommandError):
    """There is no container of this id."""


class ConnectionLost(CommandError):
    """The daemon is not there, or has gone."""
