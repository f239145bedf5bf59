"""The context that the containers of a running sandbox share."""

from dataclasses import dataclass, replace

from vmsandbox.errors import Cancelled, NotFound, Unavailable
from vmsandbox.model import ContainerConfig, SandboxState
from vmsandbox.pod.api import Container
from vmsandbox.pod.plan import PodPlan, environment, with_image_user
from vmsandbox.pod.run.console import Console
from vmsandbox.pod.run.mounting import PodMounts
from vmsandbox.pod.run.observer import PodObserver
from vmsandbox.pod.run.restarts import BackoffSettings
from vmsandbox.pod.run.runtime import PodRuntime


@dataclass(frozen=True, slots=True)
class PodContext:
    """A pod's sandbox, and what its containers are made with."""

    plan: PodPlan
    sandbox_id: str
    runtime: PodRuntime
    observer: PodObserver
    mounts: PodMounts
    backoff: BackoffSettings
    console: Console | None = None
    """The console of the only container, where it takes input."""

    @property
    def address(self) -> str:
        """The pod's first address; empty where it has none."""
        return next(iter(self.mounts.facts.ips), "")

    async def check_machine(self) -> None:
        """Raise an error unless the machine runs.

        Raises:
            Unavailable: the machine has died; with the report of its death.
            Cancelled: somebody has stopped or removed the sandbox: `vmsandbox stop`, `vmsandbox rm --force`.
        """
        try:
            status = await self.runtime.pod_sandbox_status(self.sandbox_id)
        except NotFound:
            raise Cancelled(f"pod {self.plan.name} was removed") from None
        if status.state is SandboxState.READY and not status.ending:
            return
        if not status.message:
            raise Cancelled(f"pod {self.plan.name} was stopped")
        raise Unavailable(f"the machine of pod {self.plan.name} is gone", evidence={"what was seen": status.message})

    async def config(self, container: Container, attempt: int) -> ContainerConfig:
        """CRI ContainerConfig of an attempt; opens the sub-paths of its mounts anew."""
        facts, images = self.mounts.facts, self.mounts.images
        mounts = await self.mounts.of(container, environment(facts, container))
        config = self.plan.container(container, facts, mounts, attempt)
        image = images[container.image]
        security = with_image_user(config.security, image.config)
        return replace(config, image=image.id, user_specified_image=container.image, security=security)
