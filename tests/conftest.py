"""What all tests share: Hypothesis without deadlines, since two cores are shared by many."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "slipway",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("slipway")
