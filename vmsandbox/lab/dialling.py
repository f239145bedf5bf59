"""Connecting by ssh: keys, the host's key, jump hosts, and why it did not work."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import paramiko
import tenacity

from vmsandbox.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Unavailable, VmsandboxError
from vmsandbox.fs.locks import locked
from vmsandbox.lab.host import Hop, HostKeys, LabHost, Reach

_ATTEMPTS = 3
_PAUSE = 2.0
"""Seconds between two attempts, at most."""


def connect(host: LabHost, reach: Reach, stack: contextlib.ExitStack) -> paramiko.Transport:
    """Log in to a host, through its jump host where it has one. What is opened is closed by the stack.

    Only what another attempt may mend is tried again: a refused, broken or slow connection.

    Raises:
        Unavailable: it cannot be reached.
        PermissionDenied: it is not who it should be, or does not let us in.
    """
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)  # its threads print what is raised here, too
    way = _tunnel(_log_in(host.jump, reach, None, stack), host.hop, reach) if host.jump else None
    return _log_in(host.hop, reach, way, stack)


def _log_in(hop: Hop, reach: Reach, way: paramiko.Channel | None, stack: contextlib.ExitStack) -> paramiko.Transport:
    client = paramiko.SSHClient()
    stack.callback(client.close)
    known = _known_hosts(reach.known_hosts, client)
    client.set_missing_host_key_policy(_Unknown(hop, reach, known))
    if hop.key is not None and not hop.key.is_file():
        raise InvalidArgument(f"the key {hop.key} of {hop.name} is not there")
    # A jump host's channel is used up by one attempt.
    for attempt in _attempts(1 if way else _ATTEMPTS):
        with attempt, _explained(hop, reach):
            client.connect(
                hop.address, hop.port, hop.user,
                key_filename=str(hop.key) if hop.key else None,
                allow_agent=hop.key is None, look_for_keys=hop.key is None,
                timeout=reach.connect_timeout, banner_timeout=reach.connect_timeout,
                auth_timeout=reach.connect_timeout, sock=way,
            )  # fmt: skip
    transport = client.get_transport()
    assert transport is not None
    return transport


def _tunnel(jump: paramiko.Transport, hop: Hop, reach: Reach) -> paramiko.Channel:
    for attempt in _attempts(_ATTEMPTS):
        with attempt, _explained(hop, reach):
            return jump.open_channel("direct-tcpip", (hop.address, hop.port), ("", 0), timeout=reach.connect_timeout)
    raise AssertionError("an attempt returns or raises")


def _attempts(most: int) -> tenacity.Retrying:
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Unavailable),
        stop=tenacity.stop_after_attempt(most),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=_PAUSE),
        reraise=True,
    )


def _known_hosts(path: Path, client: paramiko.SSHClient) -> paramiko.HostKeys:
    with contextlib.suppress(FileNotFoundError):
        try:
            client.load_host_keys(str(path))
        except (OSError, paramiko.SSHException, ValueError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise FailedPrecondition(f"the known hosts in {path} cannot be read: {error}") from None
    return client.get_host_keys()


class _Unknown(paramiko.MissingHostKeyPolicy):
    """The policy for a host that is not in the file."""

    def __init__(self, hop: Hop, reach: Reach, known: paramiko.HostKeys) -> None:
        self._hop, self._reach, self._known = hop, reach, known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Remember the key, or refuse the host."""
        path = self._reach.known_hosts
        if self._known.lookup(hostname) is not None:  # paramiko asks for a key of another type, too
            raise PermissionDenied(f"{self._hop} shows a key of another type than {path} has", hint=_changed(hostname))
        if self._reach.host_keys is not HostKeys.ACCEPT_NEW:
            scan = f"ssh-keyscan -p {self._hop.port} {self._hop.address} >>{path}"
            raise PermissionDenied(
                f"the key of {self._hop} is not known: {key.get_name()} {key.fingerprint}",
                hint=f"compare it on the host (ssh-keygen -lf /etc/ssh/ssh_host_*.pub), then {scan}",
            )
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path.with_name(path.name + ".lock")), path.open("a") as file:
            file.write(f"{hostname} {key.get_name()} {key.get_base64()}\n")


def _changed(name: str) -> str:
    return f"where the host was installed anew: ssh-keygen -R '{name}', and compare the new key before it is added"


@contextlib.contextmanager
def _explained(hop: Hop, reach: Reach) -> Iterator[None]:
    """Turn errors of paramiko and the system into ours."""
    try:
        yield
    except VmsandboxError:
        raise
    except Exception as error:  # paramiko lets out EOFError, TypeError and its own alike
        raise _explain(error, hop, reach) from None


def _explain(error: Exception, hop: Hop, reach: Reach) -> VmsandboxError:
    match error:
        case paramiko.BadHostKeyException():
            told = f"the key of {hop} differs from the one in {reach.known_hosts}: {error.key.fingerprint}"
            return PermissionDenied(told, hint=_changed(error.hostname))
        case paramiko.PasswordRequiredException():
            why = f"the key {hop.key} needs a passphrase"
            return PermissionDenied(why, hint="ssh-add it, and leave `key` out: then ssh-agent is asked")
        case paramiko.AuthenticationException():
            offered = f"the key {hop.key}" if hop.key else "the keys of ssh-agent and of ~/.ssh"
            hint = f"ssh-copy-id -p {hop.port} {hop.user}@{hop.address}"
            return PermissionDenied(f"{hop} does not accept {offered}", hint=hint)
        case paramiko.ChannelException():
            return Unavailable(f"{hop} cannot be reached from its jump host: {error.text}")
    return Unavailable(f"{hop} cannot be reached: {_said(error, reach)}")


def _said(error: Exception, reach: Reach) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {reach.connect_timeout:g} s"
    if isinstance(error, socket.gaierror):
        return f"the name is not known ({error.strerror})"
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        reasons = error.errors.values()  # of each address that the name has
        return "; ".join(dict.fromkeys(getattr(reason, "strerror", None) or str(reason) for reason in reasons))
    return str(error) or type(error).__name__
