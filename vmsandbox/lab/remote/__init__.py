"""Programs that the laboratory sends to its hosts: Python's standard library alone, no imports of each other.

`runner` runs every command there, and the other programs, by their text.
"""
