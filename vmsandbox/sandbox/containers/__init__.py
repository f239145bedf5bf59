"""The containers of one sandbox: made, started, stopped, removed, and told of (CRI, the calls on containers).

`container` is the life of one; `container_factory` makes it and gives it back, `record_keeper` keeps its record, and
`context` is what the containers of a sandbox share.
"""

from vmsandbox.sandbox.containers.container import Container
from vmsandbox.sandbox.containers.containers import SandboxContainers
from vmsandbox.sandbox.containers.context import ContainerContext

__all__ = [
    "Container",
    "ContainerContext",
    "SandboxContainers",
]
