"""The namespaces of the process that stands for a container on the host.

Callers look at them in /proc/PID/ns, and enter them: `podman top` lists the processes that it finds there, and
`podman cp` copies to the files that it finds there. So that these are not the host's, the process is alone in a PID
namespace, and has the container's root with its volumes for its own.
"""

import ctypes
import os
from collections.abc import Mapping
from typing import Any

_FLAGS = {"network": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000}
"""The flags by the runtime-spec's types. Other types concern processes of the container, which are in the guest."""
_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]


def makes_network(config: Mapping[str, Any]) -> bool:
    """Whether a config.json asks for a new network namespace, which its caller may fill before `start`."""
    wanted = (config.get("linux") or {}).get("namespaces") or ()
    return any(each.get("type") == "network" and not each.get("path") for each in wanted)


def enter(config: Mapping[str, Any]) -> None:
    """Enter, or make, the network, IPC and UTS namespaces of a config.json; and make one of mounts, and of children.

    The next child of this process is the first in its PID namespace. Raises OSError.
    """
    for namespace in config.get("linux", {}).get("namespaces", ()):
        flag, path = _FLAGS.get(namespace.get("type"), 0), namespace.get("path")
        if flag and path:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            _check(_libc.setns(fd, flag), f"joining {path}")
            os.close(fd)
        elif flag:
            _check(_libc.unshare(flag), f"making a namespace of type {namespace['type']}")
    _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWPID), "making namespaces")
    _mount("none", "/", _MS_REC | _MS_PRIVATE)


def take_root(bundle: str, config: Mapping[str, Any]) -> None:
    """Have the container's root be this process's, with its binds and a /proc; nothing else of the host is left.

    Symbolic links in the root are followed within it alone. Raises OSError.
    """
    root = os.path.join(bundle, config["root"]["path"])
    binds = [mount for mount in config.get("mounts") or () if mount.get("type") == "bind"]
    sources = [(mount["destination"], _opened(os.path.join(bundle, mount["source"]))) for mount in binds]
    _mount(root, root, _MS_BIND | _MS_REC)
    os.chdir(root)
    old = os.open("/", os.O_PATH | os.O_CLOEXEC)
    _check(_libc.pivot_root(b".", b"."), f"making {root} the root")
    _mount("proc", "/proc", _NOSUID_NODEV_NOEXEC, "proc")
    for destination, source in sources:
        if source >= 0:
            _try_to_bind(source, destination)
            os.close(source)
    os.fchdir(old)
    os.close(old)
    _check(_libc.umount2(b".", _MNT_DETACH), "leaving the host's root")
    os.chdir("/")


def _opened(path: str) -> int:
    """Return a descriptor; -1 where nothing is there."""
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1


def _try_to_bind(source: int, destination: str) -> None:
    """Mount what is open at a path; the guest has made what it is mounted at, unless it could not."""
    try:
        _mount(f"/proc/self/fd/{source}", os.path.join("/", destination), _MS_BIND | _MS_REC)
    except OSError:
        return


def _mount(source: str, target: str, flags: int, kind: str = "") -> None:
    texts = [os.fsencode(text) for text in (source, target, kind)]
    _check(_libc.mount(*texts, flags, b""), f"mounting {target}")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
