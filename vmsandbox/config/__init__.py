"""The configuration: /etc/vmsandbox/config.yaml. `examples/config.yaml` shows every setting with its default."""

from vmsandbox.config.declaring import Effect
from vmsandbox.config.differences import Change, changes, reloaded
from vmsandbox.config.loading import DEFAULT_FILE, ConfigFile, checked, in_order, load, parse, read_file
from vmsandbox.config.rendering import as_document, as_yaml
from vmsandbox.config.settings import (
    MACHINE_HANDLER,
    MOST_MEMORY,
    MOST_VCPUS,
    AcceleratorChoice,
    BridgeConfig,
    Config,
    DelegateConfig,
    HandlerConfig,
    HostNamespace,
    ImagesConfig,
    LimitsConfig,
    MachineConfig,
    Mitigations,
    NetworkConfig,
    StreamingConfig,
    UsersConfig,
    VsockChoice,
)

__all__ = [
    "DEFAULT_FILE",
    "MACHINE_HANDLER",
    "MOST_MEMORY",
    "MOST_VCPUS",
    "AcceleratorChoice",
    "BridgeConfig",
    "Change",
    "Config",
    "ConfigFile",
    "DelegateConfig",
    "Effect",
    "HandlerConfig",
    "HostNamespace",
    "ImagesConfig",
    "LimitsConfig",
    "MachineConfig",
    "Mitigations",
    "NetworkConfig",
    "StreamingConfig",
    "UsersConfig",
    "VsockChoice",
    "as_document",
    "as_yaml",
    "changes",
    "checked",
    "in_order",
    "load",
    "parse",
    "read_file",
    "reloaded",
]
