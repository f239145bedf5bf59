"""What the containers of a running sandbox have in common."""

from dataclasses import dataclass, replace

from vmsandbox.errors import Unavailable
from vmsandbox.model import ContainerConfig, SandboxState
from vmsandbox.pod.api.container import Container
from vmsandbox.pod.environment import environment
from vmsandbox.pod.mounting import PodMounts
from vmsandbox.pod.observer import PodObserver
from vmsandbox.pod.plan import PodPlan
from vmsandbox.pod.restarts import BackoffSettings
from vmsandbox.pod.runtime import PodRuntime
from vmsandbox.pod.security import with_image_user


@dataclass(frozen=True, slots=True)
class Sandboxed:
    """A pod's sandbox, and what its containers are made with."""

    plan: PodPlan
    sandbox_id: str
    runtime: PodRuntime
    observer: PodObserver
    mounts: PodMounts
    backoff: BackoffSettings

    @property
    def address(self) -> str:
        """The pod's first address; empty where it has none."""
        return next(iter(self.mounts.subject.ips), "")

    async def check_machine(self) -> None:
        """Raise Unavailable, with the report of its death, when the machine is gone."""
        status = await self.runtime.pod_sandbox_status(self.sandbox_id)
        if status.state is not SandboxState.READY:
            raise Unavailable(
                f"the machine of pod {self.plan.name} is gone", evidence={"what was seen": status.message or "nothing"}
            )

    async def config(self, container: Container, attempt: int) -> ContainerConfig:
        """CRI ContainerConfig of an attempt; opens the sub-paths of its mounts anew."""
        subject, images = self.mounts.subject, self.mounts.images
        mounts = await self.mounts.of(container, environment(subject, container))
        config = self.plan.container(container, subject, mounts, attempt)
        image = images[container.image]
        security = with_image_user(config.security, image.config)
        return replace(config, image=image.id, user_specified_image=container.image, security=security)
