"""The one error of the command: it is printed, and the command fails."""


class CommandError(Exception):
    """A line for a person. Callers look for some phrases of runc in it, such as "container does not exist"."""


class ContainerMissing(CommandError):
    """There is no container of this id."""


class ConnectionLost(CommandError):
    """The daemon is not there, or has gone."""
