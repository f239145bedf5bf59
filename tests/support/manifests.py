"""Manifests of pods for tests, written as short as they can be."""

import textwrap
from pathlib import Path

from vmsandbox.pod.api.manifest import Manifest, read_manifest
from vmsandbox.pod.plan.pod_facts import PlanSettings
from vmsandbox.pod.plan.pod_plan import PodPlan, plan_pod

CHECKOUT = Path(__file__).parents[2]
SETTINGS = PlanSettings(uid="0a1b2c3d", handlers=("", "large"))


def manifest(text: str) -> Manifest:
    """The manifest of a whole document."""
    return read_manifest([("pod.yaml", textwrap.dedent(text))])


def pod(spec: str, *more: str) -> Manifest:
    """A pod named `p` with this spec, and further documents."""
    head = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}, annotations: {note: 'a \"b\"'}}\nspec:\n"
    documents = [head + textwrap.indent(textwrap.dedent(spec), "  "), *map(textwrap.dedent, more)]
    return read_manifest([("pod.yaml", "\n---\n".join(documents))])


def plan(spec: str, *more: str, settings: PlanSettings = SETTINGS) -> PodPlan:
    """The plan of `pod`."""
    return plan_pod(pod(spec, *more), settings)
