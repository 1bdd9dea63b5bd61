"""Litestar controllers, one per noun: the wire shapes of the Pulumi Cloud REST API."""
