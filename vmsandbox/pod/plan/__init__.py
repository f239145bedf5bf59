"""The plan of a pod: a pure function of its manifest and of the host's settings, made before anything starts.

`pod_plan` puts it together; `pod_checks` and what it calls find what Kubernetes' validation would refuse.
"""

from vmsandbox.pod.plan.container_security import must_not_be_root, owner, with_image_user
from vmsandbox.pod.plan.dns import hosts_file
from vmsandbox.pod.plan.image_plan import ImagePlan
from vmsandbox.pod.plan.pod_facts import PlanSettings, PodFacts
from vmsandbox.pod.plan.pod_plan import PodPlan, plan_pod
from vmsandbox.pod.plan.variables import environment
from vmsandbox.pod.plan.volume_plan import File, Files, NamedVolumeUse, mount_of, sub_path_of

__all__ = [
    "File",
    "Files",
    "ImagePlan",
    "NamedVolumeUse",
    "PlanSettings",
    "PodFacts",
    "PodPlan",
    "environment",
    "hosts_file",
    "mount_of",
    "must_not_be_root",
    "owner",
    "plan_pod",
    "sub_path_of",
    "with_image_user",
]
