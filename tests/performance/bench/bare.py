"""A bare boot: the kernel of a pod on the QEMU of that pod, to an init that does nothing. No cold start can be quicker.

It is QEMU alone, without libvirt, with the arguments that libvirt has given it for the pod. Without the disk, share,
vsock and network of the pod, though, which are gone with it; their drivers have nothing to do then.
"""

import json
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.libvirt import qemu_pid

LINE = b"bare\n"
"""The line that the init prints."""
_DEADLINE = 300.0
_PAIRED_WITH_NOTHING = ("-S", "-no-user-config", "-nodefaults", "-no-hpet", "-no-shutdown", "-nographic", "-no-reboot")
_OF_LIBVIRT = ("-name", "-S", "-chardev", "-mon", "-netdev", "-initrd")
"""Options that name what only libvirt or the pod has."""
_BASE = 0x400000


def init() -> bytes:
    """Return a program that prints a line and then waits for ever: an executable of x86-64 (elf(5)) of 160 bytes."""
    say = b"\xb8\1\0\0\0\xbf\1\0\0\0"  # write(1,
    say += b"\x48\x8d\x35" + struct.pack("<i", 5 + 2 + 9)  # the bytes behind this code,
    say += b"\xba" + struct.pack("<i", len(LINE)) + b"\x0f\x05"  # their number)
    wait = b"\xb8\x22\0\0\0\x0f\x05\xeb\xf7"  # pause(), again and again
    size = 64 + 56 + len(say + wait + LINE)
    header = b"\x7fELF\2\1\1".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000) + say + wait + LINE


def command_of(pod: str) -> list[str]:
    """Return the command line of the QEMU of a pod that runs, by the pod's id."""
    line = Path(f"/proc/{qemu_pid(f'vmsandbox-{pod}')}/cmdline").read_bytes()
    return line.decode().rstrip("\0").split("\0")


def bare_command(command: Sequence[str], initramfs: Path) -> list[str]:
    """Return the same QEMU with another initramfs and its console on stdout, without what has ended with the pod."""
    kept = [word for option in _kept(_options(command[1:])) for word in option]
    device = json.dumps({"driver": "virtconsole", "chardev": "bare", "id": "bare-console"})
    console = ["-chardev", "stdio,id=bare,signal=off", "-device", device]
    return [command[0], *kept, "-initrd", str(initramfs), *console]


def boot(command: Sequence[str]) -> float:
    """Return the seconds from the start of the QEMU of a pod's command line to its init's line."""
    with tempfile.TemporaryDirectory(prefix="vms-bare-") as name, Path(name, "errors").open("w+b") as errors:
        argv = ["timeout", str(_DEADLINE), *bare_command(command, _initramfs(Path(name)))]
        begin = time.monotonic()
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, b"")
            took = next((time.monotonic() - begin for line in lines if line.strip() == LINE.strip()), None)
            process.terminate()
        if took is None:
            raise RuntimeError(f"a bare boot has ended before its init: {Path(errors.name).read_text()}")
    return took


def _initramfs(directory: Path) -> Path:
    (directory / "init").write_bytes(init())
    (directory / "init").chmod(0o755)
    argv = ["cpio", "--create", "--format=newc", "--quiet", "--directory", directory]
    made = subprocess.run(argv, input=b"init\n", capture_output=True, check=True).stdout
    (directory / "initramfs").write_bytes(made)
    return directory / "initramfs"


def _options(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The options of a QEMU, each with its value where it has one."""
    rest = iter(words)
    for name in rest:
        yield (name,) if name in _PAIRED_WITH_NOTHING else (name, next(rest))


def _kept(options: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """The options without those of libvirt, of a sandbox's files, and those that refer to one of these."""
    gone: set[str] = set()
    for option in options:
        values = _values(option[-1])
        if option[0] in _OF_LIBVIRT or values.get("qom-type") == "secret" or _of_pod(values, gone):
            gone |= {values[name] for name in ("id", "node-name") if name in values}
        else:
            yield option


def _of_pod(values: dict[str, str], gone: set[str]) -> bool:
    return bool(gone & set(values.values())) or "/sandboxes/" in values.get("filename", "")


def _values(text: str) -> dict[str, str]:
    """An option's value by names, of either syntax of QEMU."""
    if text.startswith("{"):
        told: dict[str, Any] = json.loads(text)
        return {name: value for name, value in told.items() if isinstance(value, str)}
    return dict(word.split("=", 1) for word in text.split(",") if "=" in word)
