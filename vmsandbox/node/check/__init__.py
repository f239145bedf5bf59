"""The findings of `vmsandbox check`: whether this node can run pods, and how to mend it.

`sections` looks at everything. Beside it, `accounts` compares user ids, `advice` (with `versions`) says what the host
could do better, and `callers` which programs run containers by `vmsandbox-oci`.
"""

from vmsandbox.node.check.findings import PROGRAMS, Section, sections

__all__ = ["PROGRAMS", "Section", "sections"]
