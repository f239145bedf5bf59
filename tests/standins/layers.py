"""The layers that the stand-in images are made of: each function fills a directory with one layer's files.

busybox is dynamically linked and its commands are hard links: a static one runs commands within its shell, and with
symbolic links masking one command masks all.
"""

import io
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.standins.engines import buildah
from tests.standins.software import software
from tests.standins.workshop import Workshop, compile_static

_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin", "var/run": "/run"}
_DIRECTORIES = ("dev", "etc", "home", "mnt", "proc", "root", "run", "srv", "sys", "tmp", "var")
_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/srv:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh
"""
_GROUP = "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n"

_NGINX = """\
user www-data;
worker_processes 1;
pid /var/run/nginx.pid;
error_log /dev/stderr;
events { worker_connections 64; }
http {
    access_log /dev/stdout;
    server { listen %d; root /usr/share/nginx/html; }
}
"""


def busybox(workshop: Workshop, tree: Path) -> None:
    """A small system: busybox, and what it lacks of the tests' commands, pgrep, ipcs and our own meet."""
    for directory in (*_DIRECTORIES, "usr/bin", "usr/lib", "usr/lib64", "usr/sbin"):
        (tree / directory).mkdir(parents=True)
    for name, target in _LINKS.items():
        (tree / name).symlink_to(target)
    (tree / "tmp").chmod(0o1777)
    (tree / "root").chmod(0o700)
    (tree / "etc/passwd").write_text(_PASSWD)
    (tree / "etc/group").write_text(_GROUP)
    for program in ("usr/bin/busybox", "usr/bin/pgrep", "usr/bin/ipcs"):
        workshop.take(program, tree)
    compile_static("meet.c", tree / "usr/bin/meet")
    for applet in workshop.applets():
        if not (tree / "usr/bin" / applet).exists():
            (tree / "usr/bin" / applet).hardlink_to(tree / "usr/bin/busybox")


def nginx(workshop: Workshop, tree: Path) -> None:
    """A web server on port 80, whose pid is in /var/run/nginx.pid."""
    workshop.take("usr/sbin/nginx", tree)
    for directory in ("etc/nginx", "usr/share/nginx/html", "var/lib/nginx", "var/log/nginx"):
        (tree / directory).mkdir(parents=True)
    (tree / "usr/share/nginx/html/index.html").write_text("<h1>nginx stands here</h1>\n")
    (tree / "etc/nginx/nginx.conf").write_text(_NGINX % 80)


def nginx_elsewhere(_: Workshop, tree: Path) -> None:
    """The web server listens on port 12003, so that it may share the node's network."""
    (tree / "etc/nginx").mkdir(parents=True)
    (tree / "etc/nginx/nginx.conf").write_text(_NGINX % 12003)


def httpd(_: Workshop, tree: Path) -> None:
    """A page for busybox's web server."""
    (tree / "srv").mkdir()
    (tree / "srv/index.html").write_text("<h1>httpd stands here</h1>\n")


def predefined_group(_: Workshop, tree: Path) -> None:
    """User 1000, whom the image's /etc/group has in a second group, 50000."""
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text(_PASSWD + "default-user:x:1000:1000::/home:/bin/sh\n")
    (tree / "etc/group").write_text(_GROUP + "default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n")


def parity(workshop: Workshop, tree: Path) -> None:
    """Copy files that runtimes treat differently: links that lead to nothing, volumes that the image declares; and what
    asks of it: system calls, attributes, ACLs, capabilities, users (setpriv as `as-user`, since busybox has one)."""
    compile_static("syscalls.c", tree / "syscalls")
    for program in ("bin/setfattr", "bin/getfattr", "bin/setfacl", "bin/getfacl", "sbin/setcap", "sbin/getcap"):
        workshop.take(f"usr/{program}", tree)
    workshop.take("usr/bin/setpriv", tree)
    (tree / "usr/bin/setpriv").rename(tree / "usr/bin/as-user")
    compile_static("files.c", tree / "usr/bin/files")
    for name, target in {"srv/dangling": "/var/lib/mq/data", "var/lib/mq": "../../home/mq"}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
    volume = tree / "srv/volume"
    volume.mkdir()
    (volume / "file").write_text("of the image\n")
    (volume / "link").symlink_to("file")
    os.chown(volume, 1000, 1000)
    os.chown(volume / "file", 33, 33)
    volume.chmod(0o2750)
    (tree / "srv/link-to-volume").symlink_to("volume")
    compile_static("probe.c", tree / "usr/bin/probe")
    compile_static("nonewprivs.c", tree / "usr/bin/euid")
    (tree / "usr/bin/euid").chmod(0o4755)


def nonewprivs(_: Workshop, tree: Path) -> None:
    """One program, set-user-id root, that says its effective user."""
    compile_static("nonewprivs.c", tree / "nnp")
    (tree / "nnp").chmod(0o4755)


def pause(_: Workshop, tree: Path) -> None:
    """One program, that waits."""
    compile_static("pause.c", tree / "pause")


Recipe = Callable[[Workshop, Path], None]
"""Fills a directory with a layer's files."""

LAYERS: Mapping[str, Recipe] = {
    layer.__name__: layer
    for layer in (
        busybox, nginx, nginx_elsewhere, httpd, parity, predefined_group, nonewprivs, pause, software, buildah,
    )
}  # fmt: skip


def pack(tree: Path) -> bytes:
    """A layer's tar out of its directory, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(tree.iterdir()):
            tar.add(path, path.name, filter=_timeless)
    return buffer.getvalue()


def _timeless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 0
    member.uname = member.gname = ""
    return member
