"""What must hold of the queue after every step, judged from all rows in plain Python.

A part of the state machine of test_queue_machine.py, which says what was done and what it expects.
"""

from __future__ import annotations

from typing import Any

from control_plane.domain.deployment import ENDED, LIVE, MOVES, Status

Row = dict[str, Any]


class QueueInvariants:
    """The checks; the machine provides the rows and what they were before the step."""

    def I1_no_two_live_of_one_stack(self, rows: list[Row]) -> None:
        live = [row["stack_id"] for row in rows if row["status"] in LIVE]
        assert len(live) == len(set(live))

    def I2_no_more_than_the_limit(self, rows: list[Row]) -> None:
        """Where a limit was lowered under what is live, nothing more becomes live."""
        for organization_id, limit in self.ask("SELECT id, deployment_limit FROM organizations"):
            live = self.live_of(rows, organization_id)
            assert live <= max(limit, self.live_before.get(organization_id, 0))

    def I3_only_the_living_have_tokens(self, rows: list[Row]) -> None:
        for row in rows:
            lease = (row["runner_digest"], row["cli_digest"], row["lease_expires_at"])
            assert (row["status"] in LIVE) == all(each is not None for each in lease)
            assert (row["status"] not in LIVE) == all(each is None for each in lease)

    def I4_nothing_is_lost(self, rows: list[Row]) -> None:
        assert {row["id"] for row in rows} == set(self.acknowledged)
        for row in rows:
            assert (row["status"] in ENDED) == (row["reason"] is not None)
            assert (row["status"] in ENDED) == (row["ended_at"] is not None)
            before = self.before.get(row["id"])
            if before is not None:
                assert within_two_moves(Status(before["status"]), Status(row["status"]))
                assert before["status"] not in ENDED or row == before

    def only_the_newest_stay_where_they_wish_so(self, rows: list[Row]) -> None:
        """When a deployment of a stack ends: per operation, if the newest waiting one skips."""
        changed = [row for row in rows if row["status"] != self.status_before(row)]
        ended = {row["stack_id"] for row in changed if row["status"] in ("succeeded", "failed")}
        expected: set[str] = set()
        for stack_id in ended:
            waiting = [
                row
                for row in rows
                if row["stack_id"] == stack_id
                and self.status_before(row) == Status.NOT_STARTED
                and (row["status"] == Status.NOT_STARTED or row["reason"] == "superseded")
            ]
            newest = {row["operation"]: row["id"] for row in waiting}
            skipping = {operation for operation, id_ in newest.items() if id_ in self.skipping}
            expected |= {row["id"] for row in waiting if row["operation"] in skipping}
            expected -= set(newest.values())
        assert expected == {row["id"] for row in changed if row["reason"] == "superseded"}

    def status_before(self, row: Row) -> str | None:
        before = self.before.get(row["id"])
        return before["status"] if before else None

    def stacks_are_served_in_order(self, rows: list[Row]) -> None:
        for stack_id in {row["stack_id"] for row in rows}:
            of_stack = [row for row in rows if row["stack_id"] == stack_id]
            assert [row["version"] for row in of_stack] == list(range(1, len(of_stack) + 1))
            granted = [row["position"] for row in of_stack if row["status"] in LIVE]
            waiting = [row["position"] for row in of_stack if row["status"] == Status.NOT_STARTED]
            assert not granted or not waiting or granted[0] < min(waiting)

    def pointers_say_what_is_true(self, rows: list[Row]) -> None:
        heads = self.ask("SELECT stack_id, pool_id, head FROM queue_heads WHERE head IS NOT NULL")
        assert sorted(heads) == sorted(
            (stack_id, head["pool_id"], head["position"])
            for stack_id, head in self.heads(rows).items()
            if head is not None
        )
        lines = self.ask("SELECT organization_id, pool_id, ready FROM queue_ready WHERE ready > 0")
        assert {(line[0], line[1]): line[2] for line in lines} == {
            key: row["position"] for key, row in self.ready(rows).items()
        }


def within_two_moves(before: Status, after: Status) -> bool:
    """One step may do two moves: the janitor queues again, and what waited too long is skipped."""
    once = MOVES[before]
    return after == before or after in once or any(after in MOVES[between] for between in once)
