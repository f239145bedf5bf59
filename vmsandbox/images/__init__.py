"""OCI images: pulled, kept, and merged into one read-only root image each."""
