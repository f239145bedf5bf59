"""Options of podman run that are refused, since a Pod, or a machine, has no word for them; each with the reason."""

_MACHINE = "a pod is a machine of its own, whose kernel no other pod shares"
_LOGS = "`vmsandbox logs` has what a container prints; there is one kind of log"
_CPU = "use --cpus"
_MEMORY = "use --memory"

REFUSED: dict[str, str] = {
    "--blkio-weight": "a Pod does not share out the speed of disks",
    "--cgroup-parent": "the configuration says below which cgroup machines are (cgroup_parent)",
    "--cgroupns": _MACHINE,
    "--cidfile": "use --name; `vmsandbox ps -q` prints ids",
    "--cpu-period": _CPU,
    "--cpu-quota": _CPU,
    "--cpu-shares": _CPU,
    "--cpuset-cpus": "a Pod does not choose CPUs; use --cpus",
    "--device": "a host's device is not handed to a machine; a block device is: `volumeDevices` of a file",
    "--env-host": "name the variables: -e NAME hands one of this process on",
    "--expose": "every port of a pod can be reached; -p 8080:80 makes one the host's, too",
    "--gpus": "devices of the host are not handed to machines",
    "--health-cmd": "use `livenessProbe` of a file",
    "--init": "use `shareProcessNamespace: true` of a file: then a process of the pod's own reaps",
    "--ip": "the pod's network gives it its address",
    "--ipc": _MACHINE,
    "--link": "containers that belong together are one pod: use a file",
    "--log-driver": _LOGS,
    "--log-opt": _LOGS,
    "--mac-address": "the pod's network gives it its address",
    "--memory-reservation": _MEMORY,
    "--memory-swap": "a machine has no swap",
    "--mount": "use -v SOURCE:/PATH or --tmpfs /PATH",
    "--network-alias": "there is no DNS for names of pods",
    "--oom-score-adj": "Kubernetes' rules for pods give it",
    "--pid": _MACHINE,
    "--pids-limit": "it is the configuration's: limits.pids of a machine",
    "--platform": "a machine is of the host's platform",
    "--pod": "containers that belong together are one pod: use a file",
    "--replace": "`vmsandbox rm -f NAME` first",
    "--secret": "use a Secret of a file, or --env-file",
    "--security-opt": "use `securityContext` of a file",
    "--shm-size": "use a volume of a file: `emptyDir: {medium: Memory, sizeLimit: ...}` at /dev/shm",
    "--sig-proxy": "Ctrl-C and SIGTERM ask the container to end; other signals are not passed on",
    "--stop-signal": "use `lifecycle.stopSignal` of a file",
    "--systemd": "the container's command decides what runs in it",
    "--ulimit": "a Pod has no word for resource limits of processes",
    "--userns": "use `hostUsers: false` of a file",
    "--uts": _MACHINE,
    "--volumes-from": "name the volumes: -v NAME:/PATH",
}
"""Each of them takes a value, except those of `FLAGS`."""

FLAGS = frozenset({"--env-host", "--init", "--replace"})
