"""The runtime service: every sandbox of a process by its id, as the CRI speaks of them (runtime.v1 RuntimeService).

The CRI server, the OCI door and `vmsandbox run` are its callers. Each sandbox has its own locks; calls on different
sandboxes never wait on each other. Its calls come in families, as those of `cri.servicer` and `cri.client`.
"""

from vmsandbox.service.runtime import RuntimeService

__all__ = ["RuntimeService"]
