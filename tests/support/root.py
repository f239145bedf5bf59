"""A fresh root of a distribution: a directory in which commands run as on another machine, and leave nothing here.

    with fresh_root("trixie") as root:
        root.run("apt-get", "update", online=True)
        root.run("apt-get", "install", "-y", "tmux", online=True)
        (root.path / "root/file").write_text("the host writes into it")
        daemon = subprocess.Popen(root.command("sleep", "1000"), env=root.environment)

The root has mount, PID, UTS, IPC and network namespaces of its own: `/` is a mount point, the cgroups are the host's,
/dev is a copy of the host's, /run is empty, no systemd runs. Its network has a loopback alone, so that the bridges and
addresses of its pods meet nobody else's; `online` commands use the host's network. When the context or the process that
made it ends, every process of the root is killed, and its mounts are gone; the context removes its directory, too.

The packages of an empty root are kept in CACHE; making one takes a minute or two, copying it seconds. Needs root,
mmdebstrap and a mirror (Debian's: the one of this host).
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.fs.locks import locked
from vmsandbox.guestimage import choose_sources, sources_list
from vmsandbox.guestimage.mirrors import MIRROR

CACHE = Path("/var/cache/vmsandbox/distributions")
PACKAGES = ("ca-certificates", "git", "make")
"""All that README asks of a machine beside what Debian gives every machine, and certificates."""

_UBUNTU = ("noble",)
_KEYRING = "usr/share/keyrings/ubuntu-archive-keyring.gpg"
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "TERM")
_HOLDER = Path(__file__).with_name("root.sh")


@dataclass(frozen=True)
class Root:
    """A root whose namespaces live. Its directory may be written to from outside, except /dev, /proc, /run and /sys."""

    path: Path
    pid: int
    """PID 1 of the root, as the host counts."""
    variables: Mapping[str, str]
    """The environment in addition to that of a fresh login: the way to a mirror of Debian where its apt has none."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a fresh login with `variables`, and this host's way to its registries."""
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"TERM": "dumb", **passed, **self.variables, "PATH": path, "HOME": "/root", "LANG": "C.UTF-8"}

    def command(self, *command: str, online: bool = False, cwd: str = "/root") -> list[str]:
        """The command that runs `command` in the root; to be started with `environment`."""
        namespaces = ["--mount", "--pid", "--uts", "--ipc", *(() if online else ("--net",))]
        enter = [shutil.which("nsenter") or "nsenter", f"--target={self.pid}", *namespaces, "--"]
        return [*enter, "env", f"--chdir={cwd}", *command]

    def run(
        self, *command: str, online: bool = False, cwd: str = "/root", check: bool = True, capture: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end. Its output goes to the caller's own where it is not captured."""
        output = subprocess.PIPE if capture else None
        ran = subprocess.run(
            self.command(*command, online=online, cwd=cwd),
            env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True, check=False,
        )  # fmt: skip
        if check and ran.returncode != 0:
            raise AssertionError(f"{command} ended with {ran.returncode}: {ran.stdout or ''}{ran.stderr or ''}")
        return ran


@contextlib.contextmanager
def fresh_root(suite: str, binds: Mapping[str, Path] | None = None) -> Iterator[Root]:
    """Make a root of `suite`, let it live while the context lasts, and remove it.

    Args:
        suite: bookworm, trixie or noble.
        binds: directories of the host by the paths at which the root has them, too (writable).
    """
    base = make_base(suite)
    with tempfile.TemporaryDirectory(prefix=f"vmsandbox-{suite}-", dir="/var/tmp") as directory:
        path = Path(directory) / "root"
        subprocess.run(["cp", "--archive", "--reflink=auto", str(base), str(path)], check=True)
        _connect(path)
        variables = {MIRROR: choose_sources("trixie")[0].uri} if suite in _UBUNTU else {}
        with _namespaces(path, binds or {}) as pid:
            yield Root(path, pid, variables)


def make_base(suite: str) -> Path:
    """The tree of an empty root, made unless it is in the cache already. Nobody may write into it."""
    sources = "" if suite in _UBUNTU else sources_list(choose_sources(suite))
    key = hashlib.sha256(repr((suite, PACKAGES, sources)).encode()).hexdigest()[:16]
    base = CACHE / f"{suite}-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / f"{suite}.lock"):
        if not base.exists():
            _build(suite, sources, base)
    return base


def _build(suite: str, sources: str, base: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".building-", dir=CACHE) as directory:
        tree = Path(directory) / "tree"
        options = ["--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        if suite in _UBUNTU:  # from the mirror that mmdebstrap knows
            options += [f"--keyring={_ubuntu_keyring(Path(directory))}", "--components=main,universe", "--include=apt"]
            mirror = []
        else:
            mirror = ["-"]
        _mmdebstrap([*options, suite, str(tree), *mirror], sources)
        tree.rename(base)


def _ubuntu_keyring(directory: Path) -> Path:
    """Ubuntu's keys, out of Debian 13's package of them, which Debian's keys sign."""
    tree = directory / "keyring"
    sources = sources_list(choose_sources("trixie"))
    _mmdebstrap(["--mode=root", "--variant=extract", "--include=ubuntu-keyring", "trixie", str(tree), "-"], sources)
    return tree / _KEYRING


def _mmdebstrap(arguments: Sequence[str], sources: str) -> None:
    made = subprocess.run(["mmdebstrap", *arguments], input=sources, text=True, capture_output=True, check=False)
    assert made.returncode == 0, f"mmdebstrap {' '.join(arguments)}: {made.stderr}"


def _connect(path: Path) -> None:
    """Give a root this host's resolver, its certificates and what its apt does to reach a mirror.

    Its dpkg does not wait for the disk: the root is thrown away.
    """
    for name in ("etc/resolv.conf", "etc/hosts"):
        (path / name).unlink(missing_ok=True)
        shutil.copy(Path("/") / name, path / name)
    own = Path("/usr/local/share/ca-certificates")
    shutil.copytree(own, path / own.relative_to("/"), dirs_exist_ok=True)
    subprocess.run(["chroot", str(path), "update-ca-certificates"], check=True, capture_output=True)
    acquire = subprocess.run(["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True).stdout
    kept = [line for line in acquire.splitlines() if "::Proxy" in line or "::Check-" in line]
    (path / "etc/apt/apt.conf.d/90host").write_text("".join(f"{line}\n" for line in kept))
    (path / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")


@contextlib.contextmanager
def _namespaces(path: Path, binds: Mapping[str, Path]) -> Iterator[int]:
    """Namespaces in which `path` is the root, held by a process that ends when its standard input does."""
    pairs = [word for target, source in binds.items() for word in (str(source), target.lstrip("/"))]
    namespaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child"]
    holder = subprocess.Popen(
        ["unshare", *namespaces, "bash", str(_HOLDER), str(path), *pairs],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == "ready\n", "the namespaces of the root could not be made"
        yield int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text())
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
