"""This node: its configuration made into what sandboxes are made with, and what can be said of it.

For others are `host` (all that sandboxes are made with), `instance` (the directories of a process), `images` (the image
store alone, which needs no libvirt) and `check`.
"""
