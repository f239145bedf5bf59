"""Rows about what a container sees of its node and of itself: mounts, /proc, /sys, names, limits, streams."""

from tests.parity.behaviour import Behaviour
from tests.parity.security import PRIVILEGED, ROOT

_MOUNTS = (
    'awk \'$5 !~ "^/(srv|proc/|sys/fs/cgroup)" {print $5, $6, $7 ~ /:/ ? "propagated" : "private"}\' '
    "/proc/self/mountinfo | sort"
)
"""Without what depends on the version of cgroups, and on which files the kernel has to be hidden."""
_HIDDEN = (
    "for path in interrupts keys timer_list; do echo $path $(head -c 1 /proc/$path | wc -c); done; "
    "ls -A /proc/acpi /sys/firmware"
)
_RESOURCES = {"linux": {"resources": {"memory_limit_in_bytes": 33554432, "oom_score_adj": 500}}}
_LIMITED = {
    "linux": {
        "resources": {
            "memory_limit_in_bytes": 67108864,
            "memory_swap_limit_in_bytes": 67108864,
            "cpu_quota": 20000,
            "cpu_period": 100000,
            "oom_score_adj": 500,
        }
    }
}
_LIMITS = (
    "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes 2>&-; cat cpu.max 2>&- || "
    "echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us)"
)
"""Print the limits of memory and CPU time, in the files of either version of cgroups."""

VIEWS = (
    Behaviour("the mounts of a container", "CRI of containerd, its default mounts", _MOUNTS, security=ROOT),
    Behaviour(
        "the mounts of a container whose root is read-only",
        "Kubernetes readOnlyRootFilesystem",
        _MOUNTS,
        security={**ROOT, "readonly_rootfs": True},
    ),
    Behaviour("the mounts of a privileged container", "CRI privileged", "", exec=_MOUNTS, security=PRIVILEGED),
    Behaviour(
        "the options of its own file systems",
        "OCI runtime-spec, default file systems",
        "",
        exec="awk '$5 ~ \"^/dev(/pts)?$\" {print $5, $(NF - 2), $NF}' /proc/self/mountinfo | sed s/,inode64//",
    ),
    Behaviour(
        "the mount of a declared volume",
        "mount(8), relatime",
        "",
        exec="awk '$5 == \"/srv/missing\" {print $6}' /proc/self/mountinfo",
        differs="the volume is on the machine's scratch disk, where reading a file does not change its access time "
        "(noatime)",
    ),
    Behaviour("paths that are hidden", "CRI masked_paths; CVE-2016-9962", "", exec=_HIDDEN, security=ROOT),
    Behaviour(
        "paths that are read-only",
        "CRI readonly_paths",
        "",
        exec="cd /proc; echo 1 >sys/vm/drop_caches; echo 1 >irq/default_smp_affinity; touch bus/new fs/new; "
        "mkdir /sys/new",
        security=ROOT,
    ),
    Behaviour(
        "nothing is hidden or read-only that the client does not name",
        "containerd issue 5029; Kubernetes procMount Unmasked, which names nothing",
        "",
        exec="awk '$5 ~ \"^/(proc|sys/firmware)/\"' /proc/self/mountinfo; "
        "awk '$5 == \"/proc\" {print $6}' /proc/self/mountinfo",
        security={**ROOT, "masked_paths": (), "readonly_paths": ()},
    ),
    Behaviour(
        "an unknown sysctl is refused, a known one is read", "proc(5)", "", exec="cd /proc/sys/kernel; cat none ostype"
    ),
    Behaviour(
        "the pod's name",
        "Kubernetes hostname",
        "hostname; uname -n; cat /etc/hostname; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname; "
        "echo $HOSTNAME",
    ),
    Behaviour(
        "the pod's name in an exec",
        "Kubernetes hostname",
        "",
        exec="hostname; echo $HOSTNAME",
    ),
    Behaviour(
        "the pod's resolv.conf", "CRI DNSConfig", "", exec="sort /etc/resolv.conf; ls -l /etc/resolv.conf | cut -c1-10"
    ),
    Behaviour(
        "files of the runtime in /etc can be written",
        "moby issue 9950",
        "",
        exec="for file in hostname resolv.conf; do : >>/etc/$file && echo yes; done",
        security=ROOT,
    ),
    Behaviour(
        "sysctls of the IPC namespace",
        "ipc_namespaces(7)",
        "",
        exec="cd /proc/sys/kernel; cat msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced ../fs/mqueue/*",
    ),
    Behaviour(
        "its own program",
        "proc(5)",
        "cat /proc/1/comm; tr '\\0' ' ' </proc/1/cmdline | cut -c1-20; readlink /proc/1/exe; readlink /proc/1/root",
        alone=True,
    ),
    Behaviour(
        "only its own processes",
        "pid_namespaces(7)",
        'set -- /proc/[0-9]*; echo $#; p=$(ps -o pid,ppid,comm); echo "$p" | wc -l',
        alone=True,
    ),
    Behaviour("an exec is nobody's child", "runc", "", exec="cut -d' ' -f4,7,8 /proc/$$/stat"),
    Behaviour(
        "an exec's limits are the container's",
        "runc issue 4195: RLIMIT_NOFILE",
        "",
        exec="diff /proc/1/limits /proc/self/limits && echo same",
    ),
    Behaviour(
        "an exec's cgroup is the container's",
        "cgroups(7)",
        "",
        exec="diff /proc/1/cgroup /proc/self/cgroup && echo same",
    ),
    Behaviour(
        "the umask and the priority of an exec",
        "runc",
        "",
        exec="umask; cut -d' ' -f18,19 /proc/self/stat",
    ),
    Behaviour("an exec without input", "CRI ExecSync", "", exec="stat -L -c %F /proc/self/fd/0; cat; echo end"),
    Behaviour(
        "a container with a terminal",
        "CRI tty",
        "tty; echo $TERM; stat -c '%F %t:%T %a' /dev/console; stty | head -1; ls -l /proc/self/fd | grep -c pts",
        config={"tty": True},
    ),
    Behaviour(
        "a directory to work in that the image lacks",
        "OCI image-spec, WorkingDir; runc",
        "pwd; stat -c '%u:%g %a' .",
        config={"working_dir": "/not/there"},
    ),
    Behaviour(
        "variables that are set twice",
        "CRI envs",
        "echo $PATH, $A, $B, $C",
        config={
            "envs": [
                {"key": "PATH", "value": "/bin:/usr/bin"},
                {"key": "A", "value": "1"},
                {"key": "A", "value": "2"},
                {"key": "B", "value": ""},
                {"key": "C", "value": "a=b\nc"},
            ]
        },
    ),
    Behaviour("the limits that a container reads", "Kubernetes: resources", "", exec=_LIMITS, config=_LIMITED),
    Behaviour("a command's score for the OOM killer", "runc", "", exec="cat /proc/self/oom_score_adj", config=_LIMITED),
    Behaviour(
        "a process at the memory limit is killed",
        "issue 9: cgroup memory; kubernetes issue 117070",
        "tail /dev/zero; echo $?; cat /proc/self/oom_score_adj",
        config=_RESOURCES,
        alone=True,
    ),
    Behaviour(
        "a container at its memory limit", "Kubernetes: OOMKilled", "exec tail /dev/zero", config=_RESOURCES, alone=True
    ),
    Behaviour(
        "a long line in the log",
        "Kubernetes KEP: container logs, 16 KiB",
        "head -c 40000 /dev/zero | tr '\\0' x",
        alone=True,
    ),
    Behaviour("an exit code beyond 255", "exit(3)", "exit 300", alone=True),
    Behaviour(
        "a program that is not there",
        "POSIX shell, 127",
        "nothing; test -x /etc/passwd; echo $?; /etc/passwd; echo $?; exec /nothing",
        alone=True,
    ),
    Behaviour(
        "a segmentation fault",
        "signal(7)",
        "sh -c 'kill -SEGV $$'; echo $?",
    ),
    Behaviour(
        "a child that stops and goes on",
        "signal(7), job control",
        "",
        exec="sleep 1000 & kill -STOP $!; sleep 0.2; cut -d' ' -f3 /proc/$!/stat; kill -CONT $!; kill $!; wait $!; "
        "echo $?",
    ),
    Behaviour(
        "descriptors of timers, signals, memory and processes",
        "timerfd_create(2), memfd_create(2), pidfd_open(2)",
        "",
        exec="probe descriptors",
    ),
    Behaviour(
        "the clock's zone and its steps",
        "time(7)",
        "",
        exec="date +%Z; ls /etc/localtime; cat /proc/self/timens_offsets",
    ),
    Behaviour(
        "years beyond 2038",
        "ext4, inodes of 128 bytes",
        "",
        exec="touch -d @5000000000 /tmp/late && stat -c %Y /tmp/late",
    ),
    Behaviour(
        "the kernel",
        "design: each pod has one of its own",
        "",
        exec="uname -r; cat /proc/sys/kernel/random/boot_id",
        differs="the kernel is the guest's, which boots with the pod: release, boot id and uptime are not the node's",
    ),
    Behaviour(
        "the memory",
        "proc(5), /proc/meminfo",
        "",
        exec="grep MemTotal /proc/meminfo",
        differs="/proc/meminfo, free and nproc show the size of the machine, which is made for the pod, not that of "
        "the node",
    ),
    Behaviour(
        "the devices of a privileged container",
        "CRI privileged",
        "",
        exec="ls /dev | sort",
        security=PRIVILEGED,
        differs="the devices are those of the machine, not those of the node",
    ),
)
