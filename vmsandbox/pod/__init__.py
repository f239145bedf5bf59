"""Pods from YAML files, run to their end."""
