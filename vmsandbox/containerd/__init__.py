"""containerd 2 without a shim: a thin process that answers containerd's sandbox controller and task services.

It is a client of the daemon (`oci`), and outlives it: containerd takes the tasks of a process that ends for exited.
`messages` has containerd's messages, `sandboxes` and `tasks` what is served, `server` the two services.
"""

# The environment of gRPC's C core is set where the CRI's package is imported, before gRPC is.
import vmsandbox.cri  # noqa: F401
from vmsandbox.containerd.server import serving_containerd

__all__ = ["serving_containerd"]
