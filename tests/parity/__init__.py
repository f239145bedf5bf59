"""Behaviours that a container may rely on, each asked of vmsandbox and of containerd with runc, and compared.

`python -m tests.parity --list` says each with its source. tests/e2e/parity runs them.
"""
