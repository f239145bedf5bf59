"""The Debian package on a fresh Debian of this host's release: `make test-package`, which takes minutes."""
