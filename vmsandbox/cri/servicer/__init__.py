"""Every call of the CRI, by families; server.py serves them."""
