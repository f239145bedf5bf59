"""Commands on images: those of containers, and the guest image."""
