"""This node: its configuration made into what sandboxes are made with, and what can be said of it."""
