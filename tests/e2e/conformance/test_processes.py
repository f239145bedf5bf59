"""The rights of the processes of pods; those of one pod do not reach another."""

import grp
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.apparmor import held, profiles
from tests.support.conformance import Serving
from tests.support.conformance_client import Cri, Pod
from tests.support.processes import Privileges, privileges, table

KVM = grp.getgrnam("kvm").gr_gid
CGROUPS = Path("/sys/fs/cgroup")


KUBEPODS = Path(f"vmsandbox-test-{os.getpid()}/kubepods/burstable/pod1")


def hierarchies() -> list[Path]:
    """The mount points that a kubelet and its cAdvisor look at."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [CGROUPS / name for name in ("memory", "cpu", "cpuacct", "pids", "blkio", "cpuset")]


@pytest.fixture(scope="module")
def other(cri: Cri) -> Iterator[Pod]:
    """A pod beside the shared one, with a cgroup as a kubelet makes it."""
    for hierarchy in hierarchies():
        (hierarchy / KUBEPODS).mkdir(parents=True)
    with cri.pod("small", linux={"cgroup_parent": f"/{KUBEPODS}"}) as pod:
        yield pod
    assert [left for hierarchy in hierarchies() for left in (hierarchy / KUBEPODS).glob("*/")] == []
    for hierarchy in hierarchies():
        for path in (KUBEPODS, *KUBEPODS.parents[:-1]):
            (hierarchy / path).rmdir()


def first_user(daemon: Serving, pod: Pod) -> int:
    """The first of the pod's two users: QEMU's."""
    claims = (daemon.directory / "run/users").glob("[0-9]*")
    return next(int(claim.name) for claim in claims if claim.read_text() == pod.id)


def processes(daemon: Serving, pod: Pod) -> dict[str, list[Privileges]]:
    """The processes of a pod by their names."""
    user, share = first_user(daemon, pod), f"source={daemon.directory}/run/serve/sandboxes/{pod.id}/served"
    found: dict[str, list[Privileges]] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            read = privileges(int(directory.name))
            serves = read.name == "virtiofsd" and share.encode() in (directory / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if serves or read.users & {user, user + 1}:
            found.setdefault(read.name, []).append(read)
    return found


def test_the_processes_of_a_pod_may_do_no_more_than_they_have_to(
    daemon: Serving, pod: Pod, capsys: pytest.CaptureFixture[str]
) -> None:
    found, user = processes(daemon, pod), first_user(daemon, pod)
    (qemu,), (vsock,), files = found["qemu-system-x86"], found["vhost-device-vs"], found["virtiofsd"]
    waiting, serving = sorted(files, key=lambda process: "pid" in process.apart)
    with capsys.disabled():
        sys.stdout.write(f"\n{table([privileges(serve(daemon)), qemu, waiting, serving, vsock])}\n")
    assert set(found) == {"qemu-system-x86", "vhost-device-vs", "virtiofsd"}

    assert (qemu.users, qemu.groups) == ({user}, {KVM})
    assert qemu.capabilities == () and qemu.no_new_privs and qemu.seccomp
    assert {"ipc", "mnt", "net", "uts"} <= set(qemu.apart)

    assert (vsock.users, vsock.groups) == ({user + 1}, {user + 1})
    assert vsock.capabilities == () and vsock.no_new_privs
    assert {"ipc", "net", "uts"} <= set(vsock.apart)
    assert vsock.limits["Max file size"] != "unlimited" and vsock.limits["Max data size"] != "unlimited"

    assert waiting.capabilities == () and {"mnt", "net"} <= set(waiting.apart)
    assert serving.no_new_privs and serving.seccomp and {"mnt", "net", "pid"} <= set(serving.apart)
    assert serving.capabilities is not None
    assert not {"sys_admin", "net_admin", "sys_ptrace", "sys_module", "dac_read_search"} & set(serving.capabilities)

    for process in (qemu, vsock, waiting, serving):
        assert process.limits["Max core file size"] == "0"
        assert process.oom_score == 500
        assert f"/vmsandbox/{pod.id}" in process.cgroups


def serve(daemon: Serving) -> int:
    """The daemon, whose parent is tini."""
    return int(Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()[0])


def test_a_vsock_daemon_with_a_guest_has_what_its_apparmor_profile_allows_and_nothing_else(
    daemon: Serving, pod: Pod
) -> None:
    (vsock,) = processes(daemon, pod)["vhost-device-vs"]
    allowed, found = profiles(VMSANDBOX_RUN=daemon.directory)["vmsandbox-vsock"], held(vsock.pid)
    assert any(path.startswith("/memfd:") and letter == "w" for path, letter in found)
    assert not [use for use in found if not allowed.allows(*use)]


def test_machines_share_no_user_no_network_and_no_cgroup(daemon: Serving, pod: Pod, other: Pod) -> None:
    one, two = processes(daemon, pod), processes(daemon, other)
    for name in ("qemu-system-x86", "vhost-device-vs"):
        mine, theirs = one[name][0], two[name][0]
        assert not mine.users & theirs.users
        assert mine.namespaces["net"] != theirs.namespaces["net"]
        assert mine.namespaces["ipc"] != theirs.namespaces["ipc"]
    (mine,), (theirs,) = one["qemu-system-x86"], two["qemu-system-x86"]
    assert f"/vmsandbox/{pod.id}" in mine.cgroups and f"/{KUBEPODS}/vmsandbox-{other.id}" in theirs.cgroups


def test_a_machine_is_charged_to_the_cgroup_of_its_pod(daemon: Serving, other: Pod) -> None:
    """The kubelet and cAdvisor read the pod's, which counts what is below it."""
    machine = KUBEPODS / f"vmsandbox-{other.id}"
    found = processes(daemon, other)
    pids = {process.pid for each in found.values() for process in each}
    assert set(found) == {"qemu-system-x86", "vhost-device-vs", "virtiofsd"}
    for hierarchy in hierarchies():
        assert set(map(int, (hierarchy / machine / "cgroup.procs").read_text().split())) == pids
    memory = CGROUPS if len(hierarchies()) == 1 else CGROUPS / "memory"
    usage = "memory.current" if memory == CGROUPS else "memory.usage_in_bytes"
    assert int((memory / KUBEPODS / usage).read_text()) > 64 << 20
    assert {process.oom_score for each in found.values() for process in each} == {999}


READ = "open({path!r}, 'rb').read(1)"
LIST = "import os; os.listdir({path!r})"
CONNECT = "import socket; socket.socket(socket.AF_UNIX).connect({path!r})"


def attempt(user: int, groups: list[int], script: str, path: Path) -> str:
    """Return the error of an attempt with this user and these groups; empty if it is allowed."""
    ids = [f"--reuid={user}", f"--regid={groups[0]}", f"--groups={','.join(map(str, groups))}"]
    code = script.format(path=str(path))
    ran = subprocess.run(["setpriv", *ids, "/usr/bin/python3", "-c", code], capture_output=True, text=True, check=False)
    return ran.stderr.splitlines()[-1].partition(":")[0] if ran.returncode else ""


def secrets(daemon: Serving, pod: Pod) -> dict[Path, str]:
    """The files that only a pod's own processes and root may reach, and how access is tried."""
    runtime = daemon.directory / "run/serve/sandboxes" / pod.id
    domain = next((daemon.directory / "libvirt/lib/qemu").glob(f"domain-*-vmsandbox-{pod.id[:4]}*"))
    return {
        daemon.directory / "state/serve/sandboxes" / pod.id / "scratch.img": READ,
        runtime / "share": LIST,
        runtime / "served": LIST,
        runtime: LIST,
        runtime / "console.sock": CONNECT,
        runtime / "vsock/vhost.sock": CONNECT,
        runtime / "vsock/vsock.sock": CONNECT,
        runtime / "vsock/vsock.log": READ,
        domain / "monitor.sock": CONNECT,
        domain / "master-key.aes": READ,
        daemon.directory / "run/users/.lock": READ,
    }


def test_a_qemu_that_its_guest_has_taken_over_reaches_nothing_of_another_pod(
    daemon: Serving, pod: Pod, other: Pod
) -> None:
    attacker = first_user(daemon, other)
    heard = {path: attempt(attacker, [KVM], script, path) for path, script in secrets(daemon, pod).items()}
    assert heard == dict.fromkeys(heard, "PermissionError")
    victim = first_user(daemon, pod)
    scratch = daemon.directory / "state/serve/sandboxes" / pod.id / "scratch.img"
    assert attempt(victim, [KVM], READ, scratch) == "", "its own QEMU can"


def test_members_of_group_kvm_and_other_users_reach_nothing_of_a_pod(daemon: Serving, pod: Pod) -> None:
    for groups in ([65534, KVM], [65534]):
        heard = {path: attempt(65534, groups, script, path) for path, script in secrets(daemon, pod).items()}
        assert heard == dict.fromkeys(heard, "PermissionError")


def test_the_vsock_daemon_reaches_nothing_of_its_own_pod_but_its_sockets(daemon: Serving, pod: Pod) -> None:
    user = first_user(daemon, pod) + 1
    mine = secrets(daemon, pod)
    heard = {path: attempt(user, [user], script, path) for path, script in mine.items() if "vsock/" not in str(path)}
    assert heard == dict.fromkeys(heard, "PermissionError")


def test_another_virtiofs_socket_is_served_to_nobody_any_more(daemon: Serving, pod: Pod, other: Pod) -> None:
    """Libvirt makes it for the group of all QEMUs, or, where its umask is ours, for root alone. That of a machine of a
    template is ours. Its virtiofsd has taken the one connection that it takes."""
    booted = (daemon.directory / "libvirt/lib/qemu").glob(f"domain-*-vmsandbox-{pod.id[:4]}*/fs0-fs.sock")
    (socket,) = (*booted, *(daemon.directory / "run/serve/sandboxes").glob(f"{pod.id}/share.sock"))
    assert attempt(first_user(daemon, other), [KVM], CONNECT, socket) in ("ConnectionRefusedError", "PermissionError")


def cgroups(pod: Pod) -> list[Path]:
    names = (f"vmsandbox/{pod.id}", f"{KUBEPODS}/vmsandbox-{pod.id}")
    return [path for name in names for path in (*CGROUPS.glob(name), *CGROUPS.glob(f"*/{name}"))]


def test_a_machine_has_limits_in_its_cgroup_which_goes_with_it(daemon: Serving, cri: Cri) -> None:
    pod = cri.run_pod("small")
    settings = {
        path.name: path.read_text().strip() for cgroup in cgroups(pod) for path in cgroup.iterdir() if _limit(path)
    }
    user = first_user(daemon, pod)
    memory = int(settings.get("memory.max") or settings["memory.limit_in_bytes"])
    assert 64 << 20 < memory < 1 << 30
    assert settings["pids.max"] == "752"
    assert "200000" in (settings.get("cpu.max") or settings["cpu.cfs_quota_us"])
    pod.remove()
    assert cgroups(pod) == []
    assert not (daemon.directory / "run/users" / str(user)).exists()
    assert processes_of(user) == []


HOG = """
import os, sys, threading
for cgroup in sys.argv[1:]:
    with open(f"{cgroup}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("1000")
"""
"""Stands for a QEMU that its guest has taken over; it is to be killed before the pod's processes."""

MEMORY = HOG + "kept = [bytearray(1 << 20) for _ in range(2048)]"
THREADS = (
    HOG
    + """
stop = threading.Event()
count = 0
try:
    while count < 2000:
        threading.Thread(target=stop.wait, daemon=True).start()
        count += 1
except RuntimeError:
    print(count)
os._exit(0)
"""
)


def hog(script: str, pod: Pod) -> "subprocess.CompletedProcess[str]":
    command = ["/usr/bin/python3", "-c", script, *map(str, cgroups(pod))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_process_of_a_machine_takes_no_more_than_its_limits(other: Pod) -> None:
    assert hog(MEMORY, other).returncode == -9
    assert 500 < int(hog(THREADS, other).stdout) < 752
    assert other.status().state == pb.SANDBOX_READY


def _limit(path: Path) -> bool:
    return path.name in ("memory.max", "memory.limit_in_bytes", "pids.max", "cpu.max", "cpu.cfs_quota_us")


def processes_of(user: int) -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if path.stat().st_uid in (user, user + 1)]
