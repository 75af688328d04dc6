"""Blurvote as a service: its config file, signals, systemd and logs."""
