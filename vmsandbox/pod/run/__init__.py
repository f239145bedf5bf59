"""A planned pod is run: its images, volumes, sandbox and containers, to their end; and everything is given back.

`run_pod` does it, by a `PodRuntime`, and tells a `PodObserver`.
"""

from vmsandbox.pod.run.console import Console, has_console
from vmsandbox.pod.run.observer import OutputLine, PodObserver
from vmsandbox.pod.run.pod_life import PodResult
from vmsandbox.pod.run.resolv_conf import host_dns
from vmsandbox.pod.run.restarts import BackoffSettings
from vmsandbox.pod.run.runner import run_pod
from vmsandbox.pod.run.runtime import ContainerStreams, PodRuntime, ServiceRuntime
from vmsandbox.pod.run.volumes import PodDirectories

__all__ = [
    "BackoffSettings",
    "Console",
    "ContainerStreams",
    "OutputLine",
    "PodDirectories",
    "PodObserver",
    "PodResult",
    "PodRuntime",
    "ServiceRuntime",
    "has_console",
    "host_dns",
    "run_pod",
]
