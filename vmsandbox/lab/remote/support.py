"""Write a tar of what somebody needs who looks for a fault on a host, without secrets: `support.py DIRECTORY`.

Secrets are kept out three times. Only what is listed in `main` is read: no environment of a process or container, no
manifest, no output of a pod, no credentials of registries, no key. Every text then passes `redacted`. Both happen
here, on the host: what is left out never crosses the network.
"""

import io
import platform
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

REDACTED = "[redacted]"
MOST = 4 << 20
"""Bytes of one file; of a longer one, the end is kept."""
_PATIENCE = 300.0
"""Seconds for one command. `check` boots a machine under each accelerator."""

_NAMES = (
    r"[\w.-]*(?:password|passwd|passphrase|secret|token|credential|api[-_]?key|private[-_]?key|access[-_]?key)[\w-]*"
    r"|creds|auth|cookie|[\w-]*authorization"
)
"""Names of settings whose values are secrets; `auth` is docker's."""
_VALUE = r"\\?\"(?:[^\"\\\n]|\\.)*\"?|'[^'\n]*'?|[^\n]+"
"""In quotes, or to the end of the line."""
_PATTERNS = (
    # To the end of the text where the key's end is missing.
    (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", REDACTED),
    # A block of YAML: the lines below the key that stand further in.
    (
        rf"(?im)^(([ \t]*)(?:- )?[\"']?(?:{_NAMES})[\"']?[ ]*:[ ]*[|>][^\n]*)((?:\n(?:\2[ \t]+[^\n]*|[ \t]*(?=\n)))+)",
        rf"\1 {REDACTED}",
    ),
    # `key: value`, `key=value`, `"key": "value"`.
    (
        rf"(?i)(?<![\w.-])((?:{_NAMES})\\?[\"']?[ \t]*[:=][ \t]*+)(?!\[redacted\]|[|>][^\n]*\[redacted\])(?:{_VALUE})",
        rf"\1{REDACTED}",
    ),
    (rf"(?i)(--?(?:{_NAMES})[ \t]++)(?!\[redacted\])\S+", rf"\1{REDACTED}"),
    (r"(?i)\b((?:bearer|basic)[ \t]+)[\w.~+/=-]{8,}", rf"\1{REDACTED}"),
    (r"(?i)(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*://)[^/\s@\"']+@", rf"\1{REDACTED}@"),
    (r"\beyJ[\w-]+\.[\w-]+\.[\w-]*", REDACTED),
    (r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{20,}|glpat-[\w-]{20,})", REDACTED),
)
_COMPILED = tuple((re.compile(pattern, re.DOTALL), instead) for pattern, instead in _PATTERNS)


def redacted(text: str) -> str:
    """The text without what looks like a secret. Rather too much goes than too little."""
    for pattern, instead in _COMPILED:
        text = pattern.sub(instead, text)
    return text


def collected(directory: Path, root: Path = Path("/")) -> Iterator[tuple[str, str]]:
    """The names and contents of the bundle, before they are redacted.

    Args:
        directory: where the laboratory has installed vmsandbox.
        root: of the host's own files.
    """
    program = str(directory / "current/.venv/bin/vmsandbox")
    yield "versions.txt", _versions(directory, root)
    yield "config.yaml", _file(root / "etc/vmsandbox/config.yaml")
    yield "check.txt", _said(program, "--log-level", "warning", "check", "--output", "json")
    yield "pods.txt", _said(program, "pods") + _said(program, "ps")
    yield "domains.txt", _domains(directory, root)
    yield "journal.txt", _said("journalctl", "--unit", "vmsandbox", "--lines", "5000", "--no-pager")
    yield "host.txt", "".join(_said(*command) for command in _HOST)
    for log in sorted((root / "var/cache/vmsandbox/log").glob("*.log")):
        yield f"setup-{log.name}", _file(log)


_HOST = (
    ("uptime",), ("df", "-h"), ("df", "-i"), ("free", "-m"), ("lsmod",), ("ip", "-brief", "address"),
    ("ls", "-l", "/dev/kvm", "/dev/vhost-vsock", "/dev/vhost-net"),
)  # fmt: skip
_PACKAGES = ("qemu-system-x86", "libvirt-daemon", "libvirt0", "skopeo", "squashfs-tools-ng", "virtiofsd", "python3")


_SYSTEM_DOMAINS = """
import libvirt
for each in libvirt.openReadOnly("qemu:///system").listAllDomains():
    print(each.name(), "runs" if each.isActive() else "does not run")
"""


def _domains(directory: Path, root: Path) -> str:
    """Name the domains of the system's libvirt, and those of vmsandbox's own ones, which keep a file of each."""
    system = _said(str(directory / "current/.venv/bin/python"), "-c", _SYSTEM_DOMAINS)
    found = (root / "run/vmsandbox").glob("**/run/qemu/*.xml")
    return "\n".join([system, "of libvirts of vmsandbox's own:", *sorted(path.stem for path in found)]) + "\n"


def _versions(directory: Path, root: Path) -> str:
    installed = sorted(path.name for path in (directory / "versions").glob("*"))
    current = (directory / "current").resolve().name
    return "\n".join(
        [
            f"kernel: {platform.release()} {platform.machine()}",
            f"python: {platform.python_version()}",
            f"laboratory: {current}, of {installed}",
            _file(root / "etc/os-release"),
            _said("dpkg-query", "--show", *_PACKAGES),
        ]
    )


def _file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST))
            return file.read(MOST).decode(errors="replace")
    except OSError as error:
        return f"not there: {error.strerror}\n"


def _said(*command: str) -> str:
    """Return the output of a command, below a line that names the command."""
    begin = f"$ {' '.join(command)}\n"
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_PATIENCE,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{begin}{error}\n"
    return begin + done.stdout[-MOST:].decode(errors="replace") + "\n"


def main(directory: Path) -> None:
    """Write the archive to standard output."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        for name, text in collected(directory):
            content = redacted(text).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
