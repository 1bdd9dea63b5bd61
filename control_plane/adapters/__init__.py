"""The outside world behind the ports of services/ports.py."""
