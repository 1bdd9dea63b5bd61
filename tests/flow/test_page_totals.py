"""How many there are is told the same, whether all are counted or only as far as it matters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.services import deployment_queries
from control_plane.services.deployment_queries import ListQuery
from tests.support.app import ADMIN
from tests.support.deployments import Desk, make_desk
from tests.support.furnished import principal

COUNT = 23
SIZES = (5, 23, 24)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        for _ in range(COUNT):
            await made.create()
        yield made


async def test_every_page_tells_the_same_total(desk: Desk) -> None:
    ada = await principal(desk)
    for size in SIZES:
        for number in range(1, COUNT // size + 4):
            query = ListQuery(page=number, page_size=size)
            found = await deployment_queries.list_of_organization(
                desk.farm.world, ada, ADMIN, query
            )
            assert found.total == COUNT, (size, number)
            assert len(found.deployments) == max(0, min(size, COUNT - (number - 1) * size))
            assert not found.more


async def test_a_total_that_is_not_counted_to_its_end_says_so(desk: Desk) -> None:
    """And it always shows whether there is another page."""
    ada = await principal(desk)
    for size in SIZES:
        for number in range(1, COUNT // size + 3):
            query = ListQuery(page=number, page_size=size, count_max=3)
            found = await deployment_queries.list_of_organization(
                desk.farm.world, ada, ADMIN, query
            )
            if found.deployments:
                assert (number * size < found.total) == (number * size < COUNT)
                assert found.total == COUNT or (found.more and found.total < COUNT)
            assert found.total <= COUNT
