"""Which pods are the delegate's."""

from dataclasses import dataclass
from typing import Self

from cri_api.v1 import api_pb2 as api

from vmsandbox.config import DelegateConfig, HostNamespace


@dataclass(frozen=True, slots=True)
class Policy:
    """The one place that decides between machine and delegate.

    A pod whose RuntimeClass names one of our handlers never leaves its machine, whatever else it asks for: whoever may
    choose the pod's namespaces must not thereby choose its isolation.
    """

    handlers: frozenset[str]
    """RuntimeClass handlers of the delegate; the empty one is that of pods without RuntimeClass."""
    namespaces: frozenset[HostNamespace]
    """A pod without RuntimeClass that asks for one of the host's is the delegate's."""

    @classmethod
    def of(cls, config: DelegateConfig) -> Self:
        """Return the policy of the configuration."""
        return cls(frozenset(config.handlers), frozenset(config.host_namespaces))

    def delegates(self, handler: str, config: api.PodSandboxConfig) -> bool:
        """Whether the delegate is to run a pod (CRI RunPodSandboxRequest)."""
        if handler in self.handlers:
            return True
        options = config.linux.security_context.namespace_options
        return not handler and any(getattr(options, wanted.value) == api.NODE for wanted in self.namespaces)
