"""The settings whose values depend on this host: files, accounts, programs, devices.

`vmsandbox config check` and the start of `serve` have them looked at here, so that both say the same.
"""

import grp
import json
import os
import ssl
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path

from vmsandbox.config import Config, ConfigFile
from vmsandbox.errors import FailedPrecondition, VmsandboxError, together
from vmsandbox.exporters import check_address, check_certificate, check_installed, trusted
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.guest import use_kernel
from vmsandbox.guestimage import load_image
from vmsandbox.images import Reference
from vmsandbox.node import file_server
from vmsandbox.node.images import qemu_group
from vmsandbox.node.libvirt_files import answers
from vmsandbox.process import Account

Look = Callable[[Config], Awaitable[object]]
"""Raises a VmsandboxError that says what is wrong with a setting."""

_MOST_OF_A_FILE = 4 * MEBIBYTE


def group_number(name: str) -> int:
    """The number of a group; -1 for an empty name. Raises FailedPrecondition where there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid if name else -1
    except KeyError:
        hint = f"make it: groupadd --system {name}"
        raise FailedPrecondition(f"the group {name} does not exist", hint=hint) from None


async def check_host(file: ConfigFile) -> None:
    """Raise one error with all that `mistakes_of_host` finds."""
    if found := await mistakes_of_host(file):
        raise together(found)


async def mistakes_of_host(file: ConfigFile) -> list[VmsandboxError]:
    """All settings that this host cannot fulfil, each with its file and line, or told to be a default."""
    found: list[VmsandboxError] = []
    for name, look in LOOKS.items():
        try:
            await look(file.config)
        except VmsandboxError as error:
            place, advice = file.at(name), error.hint
            said = place.error(str(error), advice) if place else None
            found.append(said or FailedPrecondition(f"the default of {name}: {error}", hint=advice))
    return found


def _quick(look: Callable[[Config], object]) -> Look:
    async def looked(config: Config) -> object:
        return look(config)

    return looked


def _on_files(look: Callable[[Config], object]) -> Look:
    """Look at files, whose file system may hang, in a thread with a deadline."""

    async def looked(config: Config) -> object:
        return await ForeignPaths().call(Path("a file that the configuration names"), lambda: look(config))

    return looked


def _directory(path: Path) -> None:
    """The directory is there, or can be made."""
    nearest = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise FailedPrecondition(f"{nearest} is not a directory")


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, _MOST_OF_A_FILE, follow=True)
    except OSError as error:
        raise FailedPrecondition(f"{path} cannot be read: {reason(error)}") from None


def _is_json(path: Path | None) -> None:
    if path is None:
        return
    try:
        document = json.loads(_content(path))
    except ValueError as error:
        raise FailedPrecondition(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise FailedPrecondition(f"{path} is not a JSON object")


def _is_toml(path: Path | None) -> None:
    if path is None:
        return
    try:
        tomllib.loads(_content(path).decode())
    except ValueError as error:
        raise FailedPrecondition(f"{path} is not TOML: {error}") from None


def _certificate(config: Config) -> None:
    """The certificate can be read, and belongs to the key."""
    certificate, key = config.streaming.tls_certificate, config.streaming.tls_key
    if certificate is None or key is None:
        return
    _content(certificate)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except FileNotFoundError:
        return  # It is the key that is not there.
    except OSError as error:  # Of which ssl.SSLError is one.
        raise FailedPrecondition(f"{certificate} with the key {key} cannot be used: {reason(error)}") from None


def _key(config: Config) -> None:
    if config.streaming.tls_key is not None:
        _content(config.streaming.tls_key)


def _metrics_address(config: Config) -> None:
    """Nobody listens there, unless it is our daemon, which answers at its socket."""
    if not answers(config.socket):
        check_address(config.metrics)


def _traces(config: Config) -> None:
    if config.traces.endpoint is not None:
        check_installed()


def _vhost_device_vsock(config: Config) -> None:
    """One that is named is there; without the default's, the program is found in PATH."""
    path = config.vhost_device_vsock
    if path != Config().vhost_device_vsock and not os.access(path, os.X_OK):
        raise FailedPrecondition(f"{path} is not a program", hint="`make setup` builds it; or leave the setting out")


async def _virtiofsd(config: Config) -> None:
    await file_server.find(config)


def _pinned(config: Config) -> None:
    for name in config.images.pinned:
        Reference.parse(name)


LOOKS: dict[str, Look] = {
    "state_directory": _on_files(lambda config: _directory(config.state_directory)),
    "run_directory": _on_files(lambda config: _directory(config.run_directory)),
    "socket": _on_files(lambda config: _directory(config.socket.parent)),
    "socket_group": _quick(lambda config: group_number(config.socket_group)),
    "guest_image": _on_files(lambda config: load_image(config.guest_image)),
    "vsock": _quick(lambda config: use_kernel(config.vsock.value)),
    "vhost_device_vsock": _on_files(_vhost_device_vsock),
    "virtiofsd": _virtiofsd,
    "qemu_group": _quick(qemu_group),
    "images.directory": _on_files(lambda config: _directory(config.images.directory or config.state_directory)),
    "images.registries_conf": _on_files(lambda config: _is_toml(config.images.registries_conf)),
    "images.policy": _on_files(lambda config: _is_json(config.images.policy)),
    "images.authfile": _on_files(lambda config: _is_json(config.images.authfile)),
    "images.user": _quick(lambda config: Account.named(config.images.user)),
    "images.pinned": _quick(_pinned),
    "network.config_directory": _on_files(lambda config: _directory(config.network.config_directory)),
    "streaming.tls_certificate": _on_files(_certificate),
    "streaming.tls_key": _on_files(_key),
    "metrics.address": _quick(_metrics_address),
    "metrics.tls.certificate": _on_files(lambda config: check_certificate(config.metrics)),
    "traces.endpoint": _quick(_traces),
    "traces.ca": _on_files(lambda config: trusted(config.traces)),
}
"""The part of each setting that depends on this host; but CNI's plugins and the delegate may come later."""
