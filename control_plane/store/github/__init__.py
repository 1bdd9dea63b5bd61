"""Queries about what is known of GitHub: the App, installations, deliveries, pull requests."""
