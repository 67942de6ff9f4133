"""Under systemd: what the service tells it, and the unit by which it is started."""
