"""The table of behaviours."""

from tests.parity.behaviour import Behaviour
from tests.parity.files import FILES_OF_VOLUMES
from tests.parity.networks import NETWORKS
from tests.parity.one_inode import ONE_INODE
from tests.parity.security import PRIVILEGED, ROOT, SECURITY
from tests.parity.views import VIEWS
from tests.parity.volume_files import VOLUME_FILES

READ_ONLY = {**ROOT, "readonly_rootfs": True}

_MOUNTED = "awk '$5 ~ \"^/(srv|home)\" {print $5, $0 ~ / - overlay /}' /proc/self/mountinfo | sort"
_OWNERS = "stat -c '%n %F %u:%g %a' /srv/volume /srv/volume/*"
_ISSUE = "issue 10"

VOLUMES = (
    Behaviour(
        "a volume at a dangling link of the image", f"{_ISSUE}, item 6 (bitnami/rabbitmq: /bitnami/mq/mnesia)",
        f"{_MOUNTED}; ls -ld /srv/dangling | awk '{{print $1, $NF}}'; cat /srv/dangling/file /home/mq/data/file",
        volumes=("/srv/dangling",), security=ROOT,
    ),
    Behaviour(
        "a volume below another one's place in the image", f"{_ISSUE}, item 6",
        f"{_MOUNTED}; cat /srv/new/file /srv/new/below/file", volumes=("/srv/new", "/srv/new/below"), security=ROOT,
    ),
    Behaviour(
        "a declared volume is no part of the overlay", f"{_ISSUE}, item 5; docker-in-docker's /var/lib/docker",
        _MOUNTED, security=ROOT,
    ),
    Behaviour("a declared volume has the image's content and owners", f"{_ISSUE}, item 5", _OWNERS, security=ROOT),
    Behaviour(
        "a declared volume is writable under readOnlyRootFilesystem", f"{_ISSUE}, item 5",
        "echo x >/srv/volume/new && cat /srv/volume/new; echo x >/srv/missing/new && cat /srv/missing/new; "
        "touch /srv/new; stat -c '%u:%g %a' /srv/missing", security=READ_ONLY,
    ),
    Behaviour(
        "a declared volume at a link is where the link leads", f"{_ISSUE}, items 5 and 6",
        "touch /srv/link-to-volume/here; ls /srv/volume", security=ROOT,
    ),
    Behaviour(
        "a volume of the pod takes a declared one's place", f"{_ISSUE}, item 5", "ls /srv/volume; cat /srv/volume/file",
        volumes=("/srv/volume",), security=ROOT,
    ),
    Behaviour(
        "a declared volume below a volume of the pod", f"{_ISSUE}, item 5",
        f"{_MOUNTED}; ls /srv /srv/volume", volumes=("/srv",), security=ROOT,
    ),
)  # fmt: skip

USERS = (
    Behaviour("a USER with a group has no further groups", f"{_ISSUE}, item 9", "id -u; id -g; id -G"),
    Behaviour(
        "a user of the pod has the groups of the image", "KEP-3619 (SupplementalGroupsPolicy: Merge)",
        "id -u; id -g; id -G", security={"run_as_user": {"value": 1000}},
    ),
    Behaviour(
        "a user and a group of the pod have the groups of the image", "KEP-3619 (SupplementalGroupsPolicy: Merge)",
        "id -u; id -g; id -G", security={"run_as_user": {"value": 1000}, "run_as_group": {"value": 7}},
    ),
)  # fmt: skip

STREAMS = (
    Behaviour(
        "standard input without input is a readable /dev/null", f"{_ISSUE}, item 9",
        "stat -L -c '%t:%T %a' /proc/self/fd/0; cat; echo read; stat -c '%u:%g %a' /dev/null",
    ),
    Behaviour(
        "an exec waits for a child that has its output", f"{_ISSUE}, item 9", "",
        exec="{ sleep 3; echo of the child; } & echo of the command; exit 3",
    ),
    Behaviour(
        "an exec does not wait for a child that has let go of its output", f"{_ISSUE}, item 9", "",
        exec="sleep 1000 >/dev/null 2>&1 & echo of the command",
    ),
)  # fmt: skip

DEVICES = (
    Behaviour(
        "/dev/net/tun is there before anybody used it",
        f"{_ISSUE}, item 8",
        "stat -c '%F %t:%T' /dev/net/tun; exec 3<>/dev/net/tun && echo opened",
        security=PRIVILEGED,
    ),
    Behaviour(
        "a file system in a file can be mounted",
        f"{_ISSUE}, item 8",
        "stat -c '%F' /dev/loop-control; dd if=/dev/zero of=/tmp/disk bs=1k count=512 2>/dev/null; "
        "mke2fs -F /tmp/disk >/dev/null; mkdir /tmp/m; "
        "mount -t ext4 -o loop /tmp/disk /tmp/m && ls /tmp/m && umount /tmp/m && echo done",
        security=PRIVILEGED,
    ),
)

_BLOCK = "/dev/xvda"

DISKS = (
    Behaviour(
        "the mode, owner and size of a raw block volume", f"{_ISSUE}, item 10",
        f"stat -c '%F %a %u:%g' {_BLOCK}; blockdev --getsize64 {_BLOCK}; blockdev --getss {_BLOCK}",
        disks={_BLOCK: "mrw"}, security=ROOT,
    ),
    Behaviour(
        "a raw block volume is read and written", f"{_ISSUE}, item 10",
        f"echo of the pod | dd of={_BLOCK} bs=4k conv=fsync 2>/dev/null; head -n1 {_BLOCK}; "
        f"dd if=/dev/zero of={_BLOCK} bs=1k count=1 seek=1024 2>&1 | head -n1",
        disks={_BLOCK: "mrw"}, security=ROOT,
    ),
    Behaviour(
        "a raw block volume that may only be read", f"{_ISSUE}, item 10",
        f"head -c4 {_BLOCK} | od -c; echo x >{_BLOCK}; echo $?", disks={_BLOCK: "mr"}, security=ROOT,
    ),
    Behaviour(
        "a raw block volume is its owner's", f"{_ISSUE}, item 10",
        f"head -c4 {_BLOCK} >/dev/null && echo read; echo x 2>/dev/null >{_BLOCK} || echo refused",
        disks={_BLOCK: "mrw"}, security={"run_as_user": {"value": 1000}, "run_as_group": {"value": 1002}},
    ),
    Behaviour(
        "a file system on a raw block volume", f"{_ISSUE}, item 10",
        f"mke2fs -F {_BLOCK} >/dev/null 2>&1; mount -t ext4 {_BLOCK} /mnt && echo kept >/mnt/file && "
        f"umount /mnt && mount -t ext4 -o ro {_BLOCK} /mnt && cat /mnt/file",
        disks={_BLOCK: "mrw"}, security=PRIVILEGED,
    ),
)  # fmt: skip

_RUNC = "runc, libcontainer's init"
_SIGNALS = (
    "grep '^Sig[BI]' /proc/self/status | "
    "while read name mask; do printf '%s %x\\n' $name $((0x$mask & ~0x180000000)); done"
)
"""Without the signals 32 and 33: the C library keeps them, so containerd hands on what its parent made of them."""
_CRI = "CRI of containerd, the defaults of its containers"

PROCESSES = (
    Behaviour("the environment of root", _CRI, "env | grep -v ^HOSTNAME= | sort", security=ROOT),
    Behaviour(
        "the environment of a user whom the image knows",
        "containerd issue 3150: HOME",
        "env | grep -v ^HOSTNAME= | sort",
        security={"run_as_user": {"value": 1000}},
    ),
    Behaviour(
        "the environment of a user whom the image does not know",
        "containerd issue 3150: HOME",
        "env | grep -v ^HOSTNAME= | sort",
        security={"run_as_user": {"value": 4711}},
    ),
    Behaviour("the environment of an exec", _CRI, "", exec="env | grep -v ^HOSTNAME= | sort"),
    Behaviour("no signal is ignored or blocked", "moby issue 33872: SIGPIPE", _SIGNALS),
    Behaviour("an exec ignores and blocks no signal", "moby issue 33872", "", exec=_SIGNALS),
    Behaviour("no file is left open", f"{_RUNC} (CVE-2024-21626)", "ls /proc/self/fd | wc -l; readlink /proc/self/cwd"),
    Behaviour("an exec has no file left open", f"{_RUNC} (CVE-2024-21626)", "", exec="ls /proc/self/fd | wc -l; pwd"),
    Behaviour("the first process leads its session", _RUNC, "cut -d' ' -f1,4-8 /proc/1/stat", security=ROOT),
    Behaviour("the umask", _RUNC, "umask"),
    Behaviour("the capabilities of root", _CRI, "grep ^Cap /proc/self/status", security=ROOT),
    Behaviour("the capabilities of a user", _CRI, "grep ^Cap /proc/self/status"),
    Behaviour("seccomp and new privileges without a profile", _CRI, "grep -E '^(NoNew|Seccomp:)' /proc/self/status"),
    Behaviour(
        "a process that is killed has 128 and the signal", "CRI ContainerStatus.exit_code",
        "sh -c 'kill -9 $$'; echo $?",
    ),
    Behaviour(
        "a first process ignores signals that it does not handle", "pid_namespaces(7)", "kill -TERM $$; echo on",
        alone=True,
    ),
    Behaviour("a command that is killed has 128 and the signal", "CRI ExecSyncResponse", "", exec="kill -15 $$"),
    Behaviour(
        "orphans are the first process's children", "pid_namespaces(7)",
        "(sleep 1 & echo $! >/tmp/pid); sleep 0.3; cut -d' ' -f4 /proc/$(cat /tmp/pid)/stat",
    ),
    Behaviour("the end of the first process ends the others", "pid_namespaces(7)", "sleep 1000 & exit 4", alone=True),
)  # fmt: skip

_DEFAULT = {"seccomp": {"profile_type": 0}}  # SecurityProfile.RuntimeDefault
_PROFILE = "containerd's contrib/seccomp; seccomp.json of containers-common"


def _granted(*capabilities: str) -> dict[str, object]:
    return {**ROOT, **_DEFAULT, "capabilities": {"add_capabilities": capabilities}}


SYSTEM_CALLS = (
    Behaviour(
        "system calls that RuntimeDefault leaves to everybody", _PROFILE,
        "/syscalls getcpu openat2 memfd_create pidfd_open rseq seccomp landlock_create_ruleset close_range=3 "
        "ptrace=0,1 modify_ldt personality=0 personality=8 personality=0x20000 clone=17,0,0,0,0 "
        "socket=1,1,0 socket=2,1,0 socket=16,3,0 socket=16,3,9 socket=40,1,0",
        security=_DEFAULT,
    ),
    Behaviour(
        "system calls that RuntimeDefault refuses without a capability", _PROFILE,
        "/syscalls acct bpf delete_module fanotify_init finit_module init_module ioperm iopl kcmp lookup_dcookie "
        "open_by_handle_at perf_event_open process_madvise quotactl setdomainname sethostname clock_settime "
        "settimeofday vhangup; mount -t tmpfs none /mnt; umount /proc; reboot -f; dmesg >/dev/null",
        security={**ROOT, **_DEFAULT},
    ),
    Behaviour(
        "system calls that RuntimeDefault refuses whatever the capabilities are", _PROFILE,
        "/syscalls kexec_file_load kexec_load move_pages migrate_pages swapoff swapon sysfs uselib userfaultfd ustat",
        security=_granted("ALL"),
    ),
    Behaviour(
        "system calls that CAP_SYS_ADMIN opens under RuntimeDefault", _PROFILE,
        "/syscalls bpf fanotify_init perf_event_open quotactl setdomainname sethostname setns mount umount2 unshare "
        "fsopen move_mount clone3; mount -t tmpfs none /mnt && echo mounted",
        security=_granted("SYS_ADMIN"),
    ),
    Behaviour(
        "system calls that other capabilities open under RuntimeDefault", _PROFILE,
        "/syscalls acct chroot kcmp process_madvise clock_settime settimeofday; chroot / true && echo changed",
        security=_granted("SYS_CHROOT", "SYS_PACCT", "SYS_PTRACE", "SYS_TIME"),
    ),
    Behaviour(
        "no capability, no chroot under RuntimeDefault", _PROFILE, "/syscalls chroot; chroot / true",
        security={**ROOT, **_DEFAULT, "capabilities": {"drop_capabilities": ["SYS_CHROOT"]}},
    ),
    Behaviour(
        "new namespaces under RuntimeDefault", _PROFILE, "/syscalls unshare=0x10000000 clone=0x10000011,0,0,0,0 clone3",
        security=_DEFAULT,
        differs="allowed: the profile of containers-common lets the kernel decide",
    ),
    Behaviour(
        "keys, memory policies and other processes under RuntimeDefault", _PROFILE,
        "/syscalls keyctl get_mempolicy set_mempolicy mbind name_to_handle_at pidfd_getfd process_vm_readv",
        security=_DEFAULT,
        differs="allowed: the profile of containers-common lets the kernel decide",
    ),
    Behaviour(
        "io_uring and vmsplice under RuntimeDefault", _PROFILE,
        "/syscalls io_uring_setup io_uring_enter io_uring_register vmsplice io_pgetevents", security=_DEFAULT,
        differs="refused; newer profiles of containerd also refuse io_uring",
    ),
    Behaviour(
        "system calls that RuntimeDefault does not list", _PROFILE, "/syscalls add_key request_key",
        security=_DEFAULT,
        differs="refused with ENOSYS instead of EPERM; programs conclude that the kernel does not know the call",
    ),
    Behaviour(
        "bpf and perf_event_open with CAP_BPF and CAP_PERFMON under RuntimeDefault", _PROFILE,
        "/syscalls bpf perf_event_open", security=_granted("BPF", "PERFMON"),
        differs="refused: the profile of containers-common requires CAP_SYS_ADMIN",
    ),
)  # fmt: skip

FILES = (
    Behaviour("the root", "issue 10, item 7", "stat -c '%F %u:%g %a' /; touch /new && ls /new", security=ROOT),
    Behaviour(
        "a file of the image that is replaced", "overlayfs",
        "exec 3</etc/passwd; mv /etc/group /etc/passwd; head -1 /etc/passwd; head -1 <&3", security=ROOT, alone=True,
    ),
    Behaviour(
        "an open file that is removed", "POSIX unlink",
        "echo kept >/tmp/f; exec 3</tmp/f; rm /tmp/f; cat <&3; stat -L -c %h /proc/self/fd/3",
    ),
    Behaviour(
        "a directory of the image is renamed", "overlayfs (EXDEV without redirect_dir; mv copies)",
        "mv /srv/volume/../../home /home2 && ls -d /home2", security=ROOT,
    ),
    Behaviour(
        "the longest name", "POSIX NAME_MAX",
        "cd /tmp; n=$(printf %0255d 0); : >$n && ls | wc -c; (: >${n}1) 2>/dev/null || echo refused",
    ),
    Behaviour("holes stay holes", "lseek(2), SEEK_HOLE", "cd /tmp; truncate -s 1073741824 f; stat -c %b f; rm f"),
    Behaviour(
        "a FIFO between two processes", "fifo(7)", "mkfifo /tmp/p; echo through >/tmp/p & cat /tmp/p",
    ),
    Behaviour(
        "the devices of a container", "OCI runtime-spec, default devices (/dev/core: where there is /proc/kcore)",
        "find /dev ! -name core | sort | xargs stat -c '%n %F %t:%T %u:%g %a'",
    ),
    Behaviour(
        "shared memory", _CRI, "stat -c '%F %u:%g %a' /dev/shm; df -k /dev/shm | tail -1 | awk '{print $1, $2}'",
        differs="the file system is called tmpfs, not shm, because it is a mount of the guest that all containers "
        "share",
    ),
    Behaviour(
        "a volume's file can be replaced", "rename(2)", "", exec="echo new >.f; mv .f file; cat file", volumes=("/v",),
    ),
    Behaviour(
        "modes and links in a volume", "chmod(2), link(2), symlink(2)",
        "", exec="echo x >a; chmod 4711 a; ln a b; ln -s a c; mkdir -m 1777 d; stat -c '%n %F %a %h' *",
        volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "owners in a volume", "chown(2)",
        "", exec="echo x >a; chown 7:8 a; stat -c %u:%g a; chown -R 9 .; stat -c %u:%g *",
        volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "a file removed while open in a volume", "POSIX unlink", "", exec="exec 3<file; rm file; cat <&3; ls",
        volumes=("/v",),
    ),
    Behaviour("holes in a volume", "lseek(2)", "", exec="truncate -s 1048576 f; stat -c '%s %b' f", volumes=("/v",)),
    Behaviour("times in a volume", "utimensat(2)", "", exec="touch -d @1000000001 f; stat -c %Y f", volumes=("/v",)),
)  # fmt: skip

BEHAVIOURS = (
    *VOLUMES, *USERS, *STREAMS, *DEVICES, *DISKS, *PROCESSES, *SYSTEM_CALLS, *FILES, *VOLUME_FILES, *ONE_INODE,
    *SECURITY, *VIEWS, *NETWORKS, *FILES_OF_VOLUMES,
)  # fmt: skip
