"""Builds what every machine boots from, out of Debian packages: kernel, initramfs and a read-only root."""
