"""The overhead that a RuntimeClass needs, as `vmsandbox check` tells it."""

import pytest

from vmsandbox.config import Config, HandlerConfig, LimitsConfig, MachineConfig
from vmsandbox.config.settings import AcceleratorChoice
from vmsandbox.node.check.findings import budget, pod_overheads
from vmsandbox.typed_yaml import Size

MIB = 1 << 20


def test_the_overhead_of_each_runtime_class_is_told_for_what_its_machines_may_run_with() -> None:
    kvm = HandlerConfig(accelerator=AcceleratorChoice.KVM, overhead=Size(256 * MIB))
    told = pod_overheads(Config(machine=MachineConfig(), handlers={"large": kvm}))
    assert told.ok
    assert told.message.endswith("vmsandbox 198Mi with KVM, 454Mi with TCG; large 328Mi with KVM")


@pytest.mark.parametrize(
    ("limit", "ok", "text"),
    [
        (None, True, "available when the daemon starts"),
        (2 << 30, True, "4 with KVM, 2 with TCG"),
        (500 << 20, True, "1 with KVM, 0 with TCG"),
        (400 << 20, False, "0 with KVM, 0 with TCG"),
    ],
)
def test_the_budget_counts_what_machines_take_of_the_host(limit: int | None, ok: bool, text: str) -> None:
    memory = Size(limit) if limit is not None else None
    found = budget(Config(machine=MachineConfig(), limits=LimitsConfig(memory=memory)))
    assert found.ok is ok and text in found.message
