"""Libvirt's Python bindings, quiet: every error is raised, and shall not be written to stderr as well.

Who wants to see what libvirt does sets LIBVIRT_LOG_OUTPUTS and LIBVIRT_LOG_FILTERS (docs/debugging.md).
"""

import os

os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")  # read once, when the library is loaded

import libvirt

__all__ = ["libvirt"]
