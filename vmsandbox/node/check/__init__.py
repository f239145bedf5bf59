"""What `vmsandbox check` finds: whether this node can run pods, and what to do where it cannot.

`sections` looks at everything. Beside it, `accounts` compares user ids, and `advice` (with `versions`) says what the
host could do better.
"""

from vmsandbox.node.check.findings import PROGRAMS, Section, sections

__all__ = ["PROGRAMS", "Section", "sections"]
