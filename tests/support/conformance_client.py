"""A client of the CRI for tests: pods and containers as objects, over the bindings that the runtime has too.

Configurations are given as keyword arguments of the messages; a dict stands for a message within a message.
"""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cri_api.v1 import api_pb2 as pb
from cri_api.v1 import api_pb2_grpc

from tests.standins.images import BUSYBOX
from tests.support.cri_log import LogLine, read_log
from tests.support.waiting import eventually

WAIT_FOREVER = ("sleep", "3600")


@dataclass
class Cri:
    """Both services of a runtime."""

    channel: grpc.Channel
    logs: Path
    runtime: Any = field(init=False)
    images: Any = field(init=False)

    def __post_init__(self) -> None:
        self.runtime = api_pb2_grpc.RuntimeServiceStub(self.channel)
        self.images = api_pb2_grpc.ImageServiceStub(self.channel)

    @classmethod
    @contextlib.contextmanager
    def connect(cls, socket: Path, logs: Path) -> Iterator["Cri"]:
        """Speak to a socket; containers log below `logs`."""
        with grpc.insecure_channel(f"unix://{socket}") as channel:
            yield cls(channel, logs)

    def pull(self, image: str, **request: Any) -> str:
        """Pull an image and return what the runtime calls it."""
        answer = self.images.PullImage(pb.PullImageRequest(image={"image": image}, **request))
        return str(answer.image_ref)

    def image(self, name: str) -> pb.Image | None:
        """Return the status of an image, or None."""
        answer = self.images.ImageStatus(pb.ImageStatusRequest(image={"image": name}))
        return answer.image if answer.HasField("image") else None

    def list_images(self) -> list[pb.Image]:
        return list(self.images.ListImages(pb.ListImagesRequest()).images)

    def remove_image(self, name: str) -> None:
        self.images.RemoveImage(pb.RemoveImageRequest(image={"image": name}))

    def pod_config(self, **config: Any) -> pb.PodSandboxConfig:
        """A pod's configuration under a name of its own, with a log directory of its own."""
        name = f"pod-{uuid.uuid4().hex[:8]}"
        metadata = {"name": name, "uid": uuid.uuid4().hex, "namespace": "conformance"}
        return pb.PodSandboxConfig(**{"metadata": metadata, "log_directory": str(self.logs / name), **config})

    def run_pod(self, handler: str = "", **config: Any) -> "Pod":
        """Run a pod sandbox; its containers and it are the caller's to remove, at the latest at the daemon's end."""
        return self.run_pod_of(self.pod_config(**config), handler)

    def run_pod_of(self, config: pb.PodSandboxConfig, handler: str = "") -> "Pod":
        """Run a pod sandbox of this configuration."""
        Path(config.log_directory).mkdir(parents=True, exist_ok=True)
        answer = self.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config, runtime_handler=handler))
        return Pod(self, answer.pod_sandbox_id, config)

    @contextlib.contextmanager
    def pod(self, handler: str = "", **config: Any) -> Iterator["Pod"]:
        """A pod sandbox for as long as the context lasts."""
        pod = self.run_pod(handler, **config)
        try:
            yield pod
        finally:
            pod.remove()

    def list_pods(self, **filters: Any) -> list[pb.PodSandbox]:
        return list(self.runtime.ListPodSandbox(pb.ListPodSandboxRequest(filter=filters)).items)

    def list_containers(self, **filters: Any) -> list[pb.Container]:
        return list(self.runtime.ListContainers(pb.ListContainersRequest(filter=filters)).containers)

    def remove_everything(self) -> None:
        """Remove all pods."""
        for pod in self.list_pods():
            self.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=pod.id))


@dataclass
class Pod:
    """A pod sandbox."""

    cri: Cri
    id: str
    config: pb.PodSandboxConfig

    def status(self) -> pb.PodSandboxStatus:
        return self.cri.runtime.PodSandboxStatus(pb.PodSandboxStatusRequest(pod_sandbox_id=self.id)).status

    def create(
        self, *command: str, image: str = BUSYBOX, security: dict[str, Any] | None = None, **config: Any
    ) -> "Container":
        """Create a container; without a command it waits, with an empty one it runs what its image says."""
        if self.cri.image(image) is None:
            self.cri.pull(image)
        name = f"container-{uuid.uuid4().hex[:8]}"
        linux = {"security_context": security or {}, **config.pop("linux", {})}
        defaults = {"metadata": {"name": name}, "command": command or WAIT_FOREVER, "log_path": f"{name}.log"}
        message = pb.ContainerConfig(**{**defaults, "image": {"image": image}, "linux": linux, **config})
        request = pb.CreateContainerRequest(pod_sandbox_id=self.id, config=message, sandbox_config=self.config)
        return Container(self, self.cri.runtime.CreateContainer(request).container_id, message)

    def start(self, *command: str, **config: Any) -> "Container":
        """Create a container and start it."""
        container = self.create(*command, **config)
        container.start()
        return container

    def run(self, *command: str, **config: Any) -> "Ended":
        """Run a container to its end, and remove it."""
        container = self.start(*command, **config)
        ended = container.wait()
        container.remove()
        return ended

    def stop(self) -> None:
        self.cri.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=self.id))

    def remove(self) -> None:
        self.cri.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=self.id))


@dataclass
class Ended:
    """A container that has ended, and what it printed."""

    status: pb.ContainerStatus
    log: list[LogLine]

    @property
    def stdout(self) -> str:
        return "".join(line.text for line in self.log if line.stream == "stdout")

    @property
    def stderr(self) -> str:
        return "".join(line.text for line in self.log if line.stream == "stderr")


@dataclass
class Container:
    """A container of a pod."""

    pod: Pod
    id: str
    config: pb.ContainerConfig

    @property
    def log_file(self) -> Path:
        return Path(self.pod.config.log_directory) / self.config.log_path

    def start(self) -> None:
        self.pod.cri.runtime.StartContainer(pb.StartContainerRequest(container_id=self.id))

    def stop(self, timeout: int = 10) -> None:
        self.pod.cri.runtime.StopContainer(pb.StopContainerRequest(container_id=self.id, timeout=timeout))

    def remove(self) -> None:
        self.pod.cri.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id=self.id))

    def status(self) -> pb.ContainerStatus:
        return self.pod.cri.runtime.ContainerStatus(pb.ContainerStatusRequest(container_id=self.id)).status

    def exec(self, *command: str, timeout: int = 60) -> pb.ExecSyncResponse:
        """Run a command to its end."""
        request = pb.ExecSyncRequest(container_id=self.id, cmd=command, timeout=timeout)
        return self.pod.cri.runtime.ExecSync(request)

    def output(self, *command: str) -> str:
        """Return the output of a command that succeeds and prints nothing on standard error."""
        answer = self.exec(*command)
        assert (answer.exit_code, answer.stderr) == (0, b"")
        return answer.stdout.decode()

    def wait(self, timeout: float = 60) -> Ended:
        """Wait for its end."""
        status = eventually(lambda: _exited(self.status()), timeout)
        return Ended(status, read_log(self.log_file) if self.log_file.is_file() else [])


def _exited(status: pb.ContainerStatus) -> pb.ContainerStatus | None:
    return status if status.state == pb.CONTAINER_EXITED else None


def texts(lines: Sequence[LogLine], stream: str = "stdout") -> list[str]:
    """The lines of one stream of a log."""
    return "".join(line.text for line in lines if line.stream == stream).splitlines()
