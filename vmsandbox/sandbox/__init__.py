"""Pods as machines: the life of sandboxes and of their containers, in rooms.

Each room exports in its `__init__` what others may use; `lifecycle` stands on `containers`, that on `machines`, then
`streams`, `files` and `blocks`, and all on `spec`, which is pure.
"""
