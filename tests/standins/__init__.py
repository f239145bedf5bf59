"""Stand-ins for the public images that conformance tests name, made from Debian packages and served locally.

`python -m tests.standins` builds them where they are missing and prints the directory of the registry that holds them.
"""
