"""Machines: a pure function writes the domain, libvirt runs it."""
