"""The tables of docs/metrics.md, as the declarations have them."""

from vmsandbox.telemetry import Metric, Step, declared


def metrics_table() -> str:
    rows = (f"| `{each.name}` | {each.kind} | {_labels(each)} | {each.help} |" for each in declared.ALL)
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])


def steps_table() -> str:
    rows = (f"| `{each.label}` | {each.meaning} |" for each in Step)
    return "\n".join(["| step | what happens |", "|---|---|", *rows])


def _labels(metric: Metric) -> str:
    return ", ".join(f"`{label}`" for label in metric.labels)
