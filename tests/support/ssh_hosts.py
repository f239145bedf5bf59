"""Hosts of a laboratory: sshd in network namespaces, each with a host key and a directory of its own.

`alpha` and `beta` are reached from here, `gamma` through `beta` alone. All of them have this host's files.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import eventually

SSHD = "/usr/sbin/sshd"
_CONFIGURATION = """
HostKey {directory}/host_key
AuthorizedKeysFile {keys}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 50
"""


@dataclass(frozen=True, slots=True)
class SshHost:
    """One host; `port` is 22."""

    name: str
    namespace: str
    address: str
    directory: Path
    _servers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def key(self) -> str:
        """The key of the host, in the form of known_hosts."""
        kind, text, *_ = (self.directory / "host_key.pub").read_text().split()
        return f"{kind} {text}"

    def serve(self) -> None:
        """Start sshd; it goes on until `kill`."""
        with (self.directory / "sshd.log").open("ab") as log:
            command = ["ip", "netns", "exec", self.namespace, SSHD, "-D", "-e", "-f", f"{self.directory}/sshd_config"]
            self._servers.append(subprocess.Popen(command, stderr=log, start_new_session=True))
        eventually(lambda: "Server listening on 0.0.0.0" in (self.directory / "sshd.log").read_text(), timeout=20)
        (self.directory / "sshd.log").write_text("")

    def kill(self) -> None:
        """End all processes of the host, as a crash does."""
        for pid in _ip("netns", "pids", self.namespace).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        while self._servers:
            self._servers.pop().wait()

    def end_sshd(self) -> None:
        """End sshd with all of its connections; what they have started goes on."""
        for pid in _ip("netns", "pids", self.namespace).split():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if Path(f"/proc/{pid}/comm").read_text() == "sshd\n":
                    os.kill(int(pid), signal.SIGKILL)
        while self._servers:
            self._servers.pop().wait()

    def cable(self, state: str) -> None:
        """Pull the cable (`down`), or plug it in (`up`): nobody is told of what is lost."""
        _ip("-netns", self.namespace, "link", "set", "eth0", state)


@dataclass(frozen=True, slots=True)
class SshHosts:
    """The hosts, and what a client needs."""

    alpha: SshHost
    beta: SshHost
    gamma: SshHost
    key: Path
    stranger: Path
    """A key that no host knows."""
    known_hosts: Path


@contextlib.contextmanager
def ssh_hosts(directory: Path) -> Iterator[SshHosts]:
    """Three hosts that serve; nothing is left of them at the end."""
    network = f"10.213.{os.getpid() % 250}"
    Path("/run/sshd").mkdir(exist_ok=True)
    key, stranger = _make_key(directory / "key"), _make_key(directory / "stranger")
    with contextlib.ExitStack() as stack:
        alpha = stack.enter_context(_host(directory, "alpha", network, 0, ""))
        beta = stack.enter_context(_host(directory, "beta", network, 4, ""))
        gamma = stack.enter_context(_host(directory, "gamma", network, 8, beta.namespace))
        known = directory / "known_hosts"
        known.write_text("".join(f"{host.address} {host.key}\n" for host in (alpha, beta, gamma)))
        yield SshHosts(alpha, beta, gamma, key, stranger, known)


@contextlib.contextmanager
def _host(directory: Path, name: str, network: str, at: int, peer: str) -> Iterator[SshHost]:
    """A namespace that a cable leads to, from another namespace or from this one."""
    host = SshHost(name, f"lab-{name}-{os.getpid()}", f"{network}.{at + 2}", directory / name)
    host.directory.mkdir()
    _make_key(host.directory / "host_key")
    keys = directory / "key.pub"
    (host.directory / "sshd_config").write_text(_CONFIGURATION.format(directory=host.directory, keys=keys))
    link, near = f"lab{at}-{os.getpid()}"[:15], ("-netns", peer) if peer else ()
    _ip("netns", "add", host.namespace)
    try:
        _ip(*near, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        _ip(*near, "address", "add", f"{network}.{at + 1}/30", "dev", link)
        _ip(*near, "link", "set", link, "up")
        _ip("-netns", host.namespace, "address", "add", f"{host.address}/30", "dev", "eth0")
        for each in ("lo", "eth0"):
            _ip("-netns", host.namespace, "link", "set", each, "up")
        host.serve()
        yield host
    finally:
        host.kill()
        _ip("netns", "del", host.namespace)


def _make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
