"""The runner API over HTTP: from a submission to a concluded deployment, as a gateway sees it."""

from __future__ import annotations

from tests.support.queue import make_farm


async def test_one_deployment_from_submission_to_its_end(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("web", "dev")
        submitted = await farm.submit(stack)
        (grant,) = (await farm.poll()).grants
        assert (grant.deployment_id, grant.version, grant.generation) == (submitted.id, 1, 1)
