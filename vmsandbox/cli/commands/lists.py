"""Lists of one runtime without gRPC (`cri.listing`), or of all runtimes with it (`cri.client`): what both can do."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from vmsandbox.cri.listing import TIMEOUT, listing_of
from vmsandbox.model import ContainerStatus, Image, SandboxStatus
from vmsandbox.node.instance import run_sockets

if TYPE_CHECKING:
    from vmsandbox.config import Config

T = TypeVar("T")


class ImageLister(Protocol):
    """The calls that list images."""

    async def list(self) -> tuple[Image, ...]:
        """All images."""
        ...


class Lister(Protocol):
    """The calls that list: of `cri.client.CriClient`, and of `cri.listing.Listing`."""

    @property
    def images(self) -> ImageLister:
        """The calls that list images."""
        ...

    async def list_pod_sandboxes(self) -> tuple[SandboxStatus, ...]:
        """All sandboxes."""
        ...

    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """Return a sandbox with its addresses."""
        ...

    async def list_containers(self) -> tuple[ContainerStatus, ...]:
        """All containers."""
        ...


def list_quickly(config: "Config", work: Callable[[Lister], Coroutine[Any, Any, T]], timeout: float = TIMEOUT) -> T:
    """The result of `work` with `cri.listing`, like `ask_for_lists`. Raises Unusual if there is no plain answer."""
    with listing_of((config.socket, *run_sockets(config.run_directory)), timeout) as listing:
        coroutine = work(listing)
        try:
            coroutine.send(None)  # Without a loop, since no call of the listing suspends it.
        except StopIteration as ended:
            result: T = ended.value
            return result
        finally:
            coroutine.close()
    raise AssertionError("the work waits for something else than its argument")
