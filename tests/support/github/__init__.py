"""A stand-in for GitHub: a real server with real repositories, signed webhooks, and pages."""

from tests.support.github.stand_in import GitHub, github, settings

__all__ = ["GitHub", "github", "settings"]
