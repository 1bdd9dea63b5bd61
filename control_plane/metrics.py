"""The declared metrics; dashboards may name only these."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()

VERBS = Histogram(
    "slipway_verb_seconds",
    "Time of each use case, by outcome.",
    ["action", "outcome"],
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
)

DEPLOYMENTS_TRIGGERED = Counter(
    "slipway_deployments_triggered_total",
    "Deployments that were queued.",
    ["trigger", "operation"],
    registry=REGISTRY,
)

DEPLOYMENTS_ENDED = Counter(
    "slipway_deployments_ended_total",
    "Deployments that ended, by status and reason.",
    ["status", "reason"],
    registry=REGISTRY,
)
