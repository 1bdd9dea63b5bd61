"""Use cases: one public coroutine is one verb is one transaction."""
