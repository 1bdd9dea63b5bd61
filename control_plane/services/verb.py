"""The seam where everything is observed: each verb is counted, timed and logged, here only."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import structlog

from control_plane import metrics
from control_plane.errors import Problem

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger()


def verb(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Mark a service's public coroutine: one use case, one transaction, one line in the metrics."""
    action = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

    @functools.wraps(function)
    async def observed(*args: P.args, **kwargs: P.kwargs) -> R:
        started = time.perf_counter()
        outcome = "ok"
        try:
            return await function(*args, **kwargs)
        except Problem as problem:
            outcome = problem.slug
            raise
        except BaseException:
            outcome = "error"
            raise
        finally:
            seconds = time.perf_counter() - started
            metrics.VERBS.labels(action, outcome).observe(seconds)
            if outcome == "error":
                log.warning("verb failed", action=action, seconds=round(seconds, 4))

    return observed
