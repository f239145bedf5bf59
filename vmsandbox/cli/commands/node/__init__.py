"""Commands on this host: its daemon, configuration, versions, volumes and disk space."""
