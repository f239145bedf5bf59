"""Options that several commands have."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from vmsandbox.config import Config, ConfigFile

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Global:
    """The options before the command's name."""

    config_file: Path | None
    log_level: str | None

    def config(self, log_level: str = "") -> "Config":
        """The configuration, read now; logging follows it. Ends the process where it is not valid.

        Args:
            log_level: of a command that speaks to a person by itself, where the command line does not say.
        """
        return self.config_with_file(log_level).config

    def config_with_file(self, log_level: str = "") -> "ConfigFile":
        """The configuration with the lines of its file; otherwise like `config`."""
        from vmsandbox import config
        from vmsandbox.cli import execution
        from vmsandbox.errors import VmsandboxError

        try:
            file = config.read_file(self.config_file)
            read = config.checked(file)
        except VmsandboxError as error:
            execution.fail(error, execution.FAILED)
        self.configure_log(read, log_level)
        return file

    def configure_log(self, config: "Config", log_level: str = "") -> None:
        """Write the log as the configuration says; the level of the command line goes before it."""
        from vmsandbox import log

        log.configure(self.log_level or log_level or config.log_level, config.log_format)
        log.get("vmsandbox.pods").disabled = bool(log_level) and not self.log_level  # That command says it itself.


def output_option(command: F) -> F:
    """--output: for people, or for programs."""
    choice = click.Choice(["text", "json"])
    return click.option(
        "-o", "--output", type=choice, default="text", help="Output for people (text) or for programs (json)."
    )(command)


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 100:
        return f"{seconds:.0f}s"
    if seconds < 6000:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / 3600:.0f}h" if seconds < 360_000 else f"{seconds / 86400:.0f}d"


def size(count: float) -> str:
    """Bytes as a person reads them (decimal, as docker and crictl print them)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f}{unit}" if unit == "B" or count >= 10 else f"{count:.1f}{unit}"
        count /= 1000
    return f"{count:.1f}TB"
