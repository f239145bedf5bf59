"""From config.yaml to how machines are made, by handler."""

from vmsandbox import config
from vmsandbox.hypervisor import Accelerator
from vmsandbox.node.host import profiles_of

TEXT = """
machine: {kernel_parameters: loglevel=7}
handlers:
  fast: {mitigations: "off", accelerator: kvm}
  slow: {scratch_bandwidth: 200Mi, scratch_iops: 500, kernel_parameters: ""}
"""


class Choosing:
    async def choose(self, choice: str) -> Accelerator:
        return Accelerator.KVM if choice == "kvm" else Accelerator.TCG


async def test_a_profile_says_mitigations_and_rates() -> None:
    profiles = await profiles_of(config.parse(TEXT, "c.yaml"), Choosing())  # type: ignore[arg-type]
    assert profiles[""] == profiles["vmsandbox"]
    parameters = {name: profile.kernel_parameters for name, profile in profiles.items()}
    assert (parameters[""], parameters["fast"], parameters["slow"]) == (
        "mitigations=auto loglevel=7", "mitigations=off loglevel=7", "mitigations=auto",
    )  # fmt: skip
    rates = {
        name: (profile.machine.scratch_bandwidth, profile.machine.scratch_iops) for name, profile in profiles.items()
    }
    assert (rates[""], rates["slow"]) == ((None, None), (200 << 20, 500))
