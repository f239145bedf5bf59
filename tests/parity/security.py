"""Rows about users, capabilities, seccomp and what a container may not do."""

from typing import Any

from tests.parity.behaviour import Behaviour

ROOT: dict[str, Any] = {"run_as_user": {"value": 0}}
PRIVILEGED = {**ROOT, "privileged": True}
_CAPABILITIES = "grep ^Cap /proc/self/status"
_NO_PRIVILEGES = {"run_as_user": {"value": 1000}, "no_new_privs": True}

SECURITY = (
    Behaviour(
        "root without capabilities",
        "Pod Security Standards: restricted",
        _CAPABILITIES,
        security={**ROOT, "capabilities": {"drop_capabilities": ["ALL"]}},
    ),
    Behaviour(
        "root with one more capability",
        "Kubernetes SecurityContext.capabilities",
        _CAPABILITIES,
        security={**ROOT, "capabilities": {"add_capabilities": ["SYS_TIME"], "drop_capabilities": ["NET_RAW"]}},
    ),
    Behaviour(
        "a user with one more capability",
        "KEP-2763 (ambient capabilities): not a user's by itself",
        _CAPABILITIES,
        security={"capabilities": {"add_capabilities": ["NET_BIND_SERVICE"]}},
    ),
    Behaviour(
        "a user by name with groups of the pod",
        "CRI run_as_username, supplemental_groups",
        "id -u; id -g; id -G",
        security={"run_as_username": "www-data", "supplemental_groups": [7, 5]},
    ),
    Behaviour("the capabilities of an exec", "runc issue 1103", "", exec=_CAPABILITIES),
    Behaviour("the capabilities of root's exec", "runc issue 1103", "", exec=_CAPABILITIES, security=ROOT),
    Behaviour("the groups of an exec", "CVE-2022-24769, CVE-2022-2995", "", exec="id"),
    Behaviour("a set-user-id program of the image", "execve(2)", "", exec="euid"),
    Behaviour(
        "a set-user-id program where privileges cannot grow",
        "Kubernetes allowPrivilegeEscalation",
        "euid",
        security=_NO_PRIVILEGES,
    ),
    Behaviour(
        "a set-user-id program in a volume",
        "mount(2): volumes are not nosuid",
        "",
        exec="cp /usr/bin/euid .; chown 1003 euid; chmod 4755 euid; ./euid",
        volumes=("/v",),
        security=ROOT,
    ),
    Behaviour("calls that administer a machine", "capabilities(7)", "probe calls"),
    Behaviour("calls that administer a machine, by root", "capabilities(7)", "", exec="probe calls", security=ROOT),
    Behaviour("priorities of processes", "sched(7), CAP_SYS_NICE", "", exec="probe priorities", security=ROOT),
    Behaviour("a debugger of one's own child", "ptrace(2)", "", exec="probe tracing"),
    Behaviour(
        "device nodes that a container makes",
        "cgroup-v1 devices, runc's rules",
        "",
        exec="cd /tmp; mknod null c 1 3 && echo x >null && echo written; mknod disk b 8 0; head -c 1 disk; "
        "mknod fuse c 10 229; cat fuse; ls -l null disk fuse | cut -c1",
        security=ROOT,
    ),
    Behaviour(
        "root mounts nothing",
        "user_namespaces(7); runc",
        "",
        exec="mount -t tmpfs none /mnt; mount --bind /etc /mnt; mount -o remount,rw /sys; umount /dev/shm; "
        "umount /proc",
        security=ROOT,
    ),
    Behaviour(
        "root changes no name, no clock and no sysctl",
        "capabilities(7)",
        "",
        exec="hostname other; hostname; date -s 2001-01-01 2>&1 >/dev/null; "
        "echo 1 >/proc/sys/kernel/domainname; dmesg -c 2>&1 | tail -1",
        security=ROOT,
    ),
    Behaviour(
        "a privileged container mounts",
        "docker-in-docker, CSI drivers",
        "",
        exec="mkdir /tmp/t && cd /tmp/t && mount -t tmpfs -o size=1m none . && mkdir a b w m && cp /etc/group a && "
        "mount -t overlay -o lowerdir=a,upperdir=b,workdir=w none m && rm m/group && ls -l b | tail -1 | cut -c1-10; "
        "umount m; mount --bind a b && mount -o remount,bind,ro b; touch b/new; unshare -m umount /tmp/t; ls",
        security=PRIVILEGED,
    ),
)
