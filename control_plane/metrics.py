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

GITHUB_DELIVERIES = Counter(
    "slipway_github_deliveries_total",
    "Webhook deliveries from GitHub: new, again, refused.",
    ["outcome"],
    registry=REGISTRY,
)

QUEUE_SECONDS = Histogram(
    "slipway_queue_seconds",
    "How long granted deployments had waited since they were submitted.",
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600, 3600, 86400),
)

RUNNERS_LOST = Counter(
    "slipway_runners_lost_total",
    "Deployments whose runner was lost, by what became of them.",
    ["status"],
    registry=REGISTRY,
)

QUEUE_POINTERS_MENDED = Counter(
    "slipway_queue_pointers_mended_total",
    "Pointers of the queue that were found wrong and mended; none should ever be.",
    registry=REGISTRY,
)

GROUP_COMMIT_MEMBERS = Histogram(
    "slipway_group_commit_members",
    "How many submissions shared a commit.",
    registry=REGISTRY,
    buckets=(1, 2, 4, 8, 16, 32, 64),
)
