"""A small root file system to run containers in: the host's dynamic busybox, its libraries, its applets."""

import os
import shutil
import subprocess
from pathlib import Path

BUSYBOX = Path("/bin/busybox")

_PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n"
_GROUP = "root:x:0:\nweb:x:34:\nvideo:x:44:web\naudio:x:29:root,web\n"


def make_rootfs(target: Path) -> Path:
    """Fill the directory `target`, which is made, and return it.

    Applets are hard links to one busybox, so that masking one path masks no other. /etc/passwd knows root and
    web (33:34, also in video and audio).
    """
    binaries = target / "bin"
    binaries.mkdir(parents=True)
    shutil.copy2(BUSYBOX, binaries / "busybox")
    for applet in _applets():
        os.link(binaries / "busybox", binaries / applet)
    for library in _libraries():
        place = target / library.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library.resolve(), place)
    for name in ("etc", "proc", "sys", "dev", "tmp", "root", "srv", "run", "var"):
        (target / name).mkdir(exist_ok=True)
    (target / "tmp").chmod(0o1777)
    (target / "etc/passwd").write_text(_PASSWD)
    (target / "etc/group").write_text(_GROUP)
    return target


def _applets() -> list[str]:
    output = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout
    return [name for name in output.split() if name != "busybox"]


def _libraries() -> list[Path]:
    """Return the paths from ldd(1): the libraries and the dynamic linker."""
    output = subprocess.run(["ldd", BUSYBOX], capture_output=True, text=True, check=True).stdout
    return [Path(word) for word in output.split() if word.startswith("/")]
