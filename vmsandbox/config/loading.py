"""Reads a configuration file, and finds all of its mistakes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import typed_yaml
from vmsandbox.config.consistency import contradictions
from vmsandbox.config.settings import Config
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound, VmsandboxError, together
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.typed_yaml import YamlNode, decode_all

DEFAULT_FILE = Path("/etc/vmsandbox/config.yaml")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration with the file that it comes from."""

    config: Config
    """The settings; one with a mistake has its default."""
    document: YamlNode
    """The file's content; nothing, if there is no file."""
    mistakes: tuple[VmsandboxError, ...] = ()
    """The mistakes of the file by itself, whatever the host is like."""

    def at(self, setting: str) -> YamlNode | None:
        """Where a setting (`streaming.port`) stands; None: the file does not have it."""
        node = self.document
        for key in setting.split("."):
            node = node.of(key)
        return node if node.value is not None else None


def load(path: Path | None = None) -> Config:
    """The configuration in `path`, or in `DEFAULT_FILE`; where that does not exist, all defaults.

    Raises:
        NotFound, FailedPrecondition: as `read_file`.
        InvalidArgument: it is not valid; the error has all mistakes, each with line and field.
    """
    return checked(read_file(path))


def parse(text: str, source: str) -> Config:
    """The configuration that a text says; `source` is its name in errors. Raises InvalidArgument as `load`."""
    return checked(read_text(text, source))


def checked(file: ConfigFile) -> Config:
    """The configuration of a file without mistakes. Raises InvalidArgument as `load`."""
    if file.mistakes:
        raise together(file.mistakes)
    return file.config


def read_file(path: Path | None = None) -> ConfigFile:
    """Read `path`, or `DEFAULT_FILE`; where that does not exist, all settings have their defaults.

    Raises:
        NotFound: `path` was given and is not there.
        FailedPrecondition: it cannot be read.
    """
    try:
        text = read_regular(path or DEFAULT_FILE, MEBIBYTE, follow=True).decode()
    except FileNotFoundError:
        if path is None:
            return ConfigFile(Config(), _nothing(str(DEFAULT_FILE)))
        raise NotFound(f"there is no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"the configuration {path or DEFAULT_FILE} cannot be read: {reason(error)}") from None
    return read_text(text, str(path or DEFAULT_FILE))


def read_text(text: str, source: str) -> ConfigFile:
    """Read the text of a file; `source` is its name in errors."""
    try:
        documents = typed_yaml.read(text, source)
    except InvalidArgument as error:
        return ConfigFile(Config(), _nothing(source), (error,))
    if not documents:
        return ConfigFile(Config(), _nothing(source))
    config, mistakes = decode_all(Config, documents[0])
    config = config or Config()
    broken = {error.field for error in mistakes}  # They have their defaults, which contradict nothing.
    further = [error for error in contradictions(config, documents[0]) if error.field not in broken]
    several = [document.error("a configuration file is a single YAML document") for document in documents[1:2]]
    return ConfigFile(config, documents[0], in_order((*mistakes, *further, *several)))


def _nothing(source: str) -> YamlNode:
    return YamlNode(None, "", source, 1, "")


def in_order(mistakes: Iterable[VmsandboxError]) -> tuple[VmsandboxError, ...]:
    """Mistakes of one file by their lines; those without a line come first."""
    return tuple(sorted(mistakes, key=_line))


def _line(error: VmsandboxError) -> int:
    found = re.search(r":(\d+): ", error.message)
    return int(found[1]) if found else 0
