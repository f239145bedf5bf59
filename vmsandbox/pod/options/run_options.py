"""The options as they were typed, and what of this process they refer to."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """An image, its command, and the options before it, with the meanings of podman-run(1)."""

    image: str
    command: tuple[str, ...] = ()
    add_host: tuple[str, ...] = ()
    annotation: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cpus: str = ""
    detach: bool = False
    dns: tuple[str, ...] = ()
    entrypoint: str | None = None
    env: tuple[str, ...] = ()
    env_file: tuple[tuple[str, str], ...] = ()
    """The name of each file, for errors, and its text."""
    group_add: tuple[str, ...] = ()
    hostname: str = ""
    interactive: bool = False
    label: tuple[str, ...] = ()
    memory: str = ""
    name: str = ""
    network: str = ""
    privileged: bool = False
    publish: tuple[str, ...] = ()
    pull: str = ""
    read_only: bool = False
    restart: str = ""
    runtime_class: str = ""
    stop_timeout: str = ""
    sysctl: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    tty: bool = False
    user: str = ""
    volume: tuple[str, ...] = ()
    workdir: str = ""


@dataclass(frozen=True, slots=True)
class OptionContext:
    """The values outside of the options that they refer to."""

    environment: Mapping[str, str]
    """Our own, for `--env NAME`."""
    directory: str
    """Where relative paths begin: our working directory, absolute."""
    suffix: str
    """The end of the name of a pod that has no --name, which makes it unique: lower case letters and digits."""
