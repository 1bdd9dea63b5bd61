"""Updates over HTTP: the state lock, leases, completion, cancellation, silence; and fencing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pytest
from msgspec import Raw

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotLoggedIn, UpdateLeaseEnded
from control_plane.services import identity, leases, state, update_lease, updates
from control_plane.services.materialising import materialise, materialise_all
from control_plane.services.update_lease import Lease
from control_plane.services.updates import NewUpdate
from control_plane.services.world import World
from tests.support.app import client
from tests.support.queue import make_farm
from tests.support.state import document, entry, kept_objects, new_stack, resource
from tests.support.world import FakeClock, make_world

IN_PROGRESS = {"code": 409, "message": "Conflict: Another update is currently in progress."}
LEASE_SECONDS = 300
UPDATE = NewUpdate(kind="update", dry_run=False)
PREVIEW = NewUpdate(kind="update", dry_run=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock) -> AsyncIterator[World]:
    made = make_world(tmp_path, now=clock)
    yield made
    await made.database.close()


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world) as http:
        yield http


async def test_an_update_is_created_started_and_completed(
    http: httpx.AsyncClient, clock: FakeClock
) -> None:
    stack = await new_stack(http)
    proposed = (await stack.propose()).json()
    assert proposed["aiSettings"] == {"copilotIsEnabled": False}
    update_id = proposed["updateID"]
    assert (await stack.get(f"/update/{update_id}"))["status"] == "not started"

    update = await stack.begin(update_id)

    assert update.version == 1
    assert update.token.startswith("slu-")
    assert update.journal_version == 1
    assert update.expires == clock() // 1000 + LEASE_SECONDS
    running = await stack.get(f"/update/{update_id}")
    assert running["status"] == "running"
    assert running["continuationToken"]
    shown = await stack.get()
    assert shown["activeUpdate"] == update_id
    assert shown["currentOperation"] == {
        "kind": "update",
        "author": "ada",
        "started": clock() // 1000,
    }
    assert (await update.complete()).status_code == 204
    ended = await stack.get(f"/update/{update_id}")
    assert ended == {"status": "succeeded", "events": []}
    after = await stack.get()
    assert "currentOperation" not in after
    assert (after["activeUpdate"], after["version"]) == (update_id, 1)


async def test_one_update_at_a_time(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    first = await stack.start()
    second = (await stack.propose("destroy")).json()["updateID"]
    refused = await stack.post(f"/update/{second}", {})
    assert (refused.status_code, refused.json()) == (409, IN_PROGRESS)
    imported = await stack.import_(document())
    assert (imported.status_code, imported.json()) == (409, IN_PROGRESS)
    await first.complete()
    assert (await stack.begin(second)).version == 2


async def test_of_many_starts_at_once_one_wins(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    ids = [(await stack.propose()).json()["updateID"] for _ in range(5)]
    answers = await asyncio.gather(*(stack.post(f"/update/{each}", {}) for each in ids))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]


async def test_an_update_starts_once(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    again = await stack.post(f"/update/{update.id}", {})
    assert again.status_code == 409
    await update.complete()
    assert (await stack.post(f"/update/{update.id}", {})).status_code == 409


@pytest.mark.parametrize("kind", ["update", "preview", "refresh", "destroy"])
async def test_a_dry_run_takes_no_lock_and_no_number(http: httpx.AsyncClient, kind: str) -> None:
    stack = await new_stack(http)
    holder = await stack.start()
    preview = await stack.start(kind, dry_run=True)
    assert preview.version == 1, "the stack's, unchanged"
    assert preview.token
    refused = await preview.checkpoint(document())
    assert refused.status_code == 403
    assert (await preview.journal(entry(1, 0, 1))).status_code == 403
    assert (await preview.complete()).status_code == 204
    await holder.complete()
    history = await stack.get("/updates")
    assert [each["version"] for each in history["updates"]] == [1]
    assert (await stack.get())["version"] == 1
    [shown] = (await stack.get("/updates/latest/previews"))["updates"]
    assert shown["updateID"] == preview.id
    assert shown["info"]["kind"] == "preview"


@pytest.mark.parametrize("kind", ["update", "preview", "refresh", "destroy"])
async def test_every_kind_has_all_addresses(http: httpx.AsyncClient, kind: str) -> None:
    stack = await new_stack(http)
    update = await stack.start(kind)
    update.path = update.path.replace("/update/", f"/{kind}/")
    await update.create("a")
    assert (await update.events({"sequence": 0, "timestamp": 1})).status_code == 200
    assert (await update.renew()).status_code == 200
    assert (await update.complete()).status_code == 204
    assert (await http.get(update.path)).json()["status"] == "succeeded"
    assert (await http.get(f"{update.path}/events")).status_code == 200
    [shown] = (await stack.get("/updates"))["updates"]
    assert shown["kind"] == ("update" if kind == "preview" else kind), "it was no dry run"


async def test_start_replaces_the_tags(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    update_id = (await stack.propose()).json()["updateID"]
    bad = await stack.post(f"/update/{update_id}", {"tags": {"a b": "c"}})
    assert bad.status_code == 400
    tags = {"pulumi:project": "shop", "pulumi:runtime": "go"}
    assert (await stack.post(f"/update/{update_id}", {"tags": tags})).status_code == 200
    assert (await stack.get())["tags"] == tags


async def test_a_completion_may_be_repeated_but_not_changed(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    await update.create("a")
    assert (await update.complete("failed")).status_code == 204
    assert (await update.complete("failed")).status_code == 204
    assert (await update.complete("succeeded")).status_code == 403
    assert [each["result"] for each in (await stack.get("/updates"))["updates"]] == ["failed"]
    assert (await update.complete("lost")).status_code == 400
    later = await stack.start()
    assert (await update.complete("failed")).status_code == 204
    assert (await stack.get())["currentOperation"], "an old repetition frees nobody's lock"
    await later.complete()


async def test_a_lease_is_renewed_and_ends(http: httpx.AsyncClient, clock: FakeClock) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    clock.advance(200)
    renewed = await update.renew()
    assert renewed.json() == {
        "token": update.token,
        "tokenExpiration": clock() // 1000 + LEASE_SECONDS,
    }
    assert (await update.renew(301)).status_code == 400
    assert (await update.renew(-1)).status_code == 400
    clock.advance(LEASE_SECONDS)
    for answer in (
        await update.renew(),
        await update.journal(entry(1, 0, 1)),
        await update.events({"sequence": 0}),
        await update.complete(),
    ):
        assert answer.status_code == 403
        assert answer.json()["message"] == "Forbidden: The lease of this update has ended."


async def test_a_lease_opens_its_own_update_only(http: httpx.AsyncClient) -> None:
    stack, other = await new_stack(http), await new_stack(http, "other")
    update, stranger = await stack.start(), await other.start()
    mixed = replace(stranger, token=update.token)
    assert (await mixed.renew()).status_code == 403
    elsewhere = replace(update, path=update.path.replace("/dev/", "/other/"))
    assert (await elsewhere.renew()).status_code == 404
    unknown = replace(update, path=update.path.replace(update.id, "nothing"))
    assert (await unknown.renew()).status_code == 404
    wrong_kind = await http.post(f"{update.path}/renew_lease", json={})
    assert wrong_kind.status_code == 401, "a person's token is no lease"
    assert (await update.complete()).status_code == 204
    assert (await stranger.complete()).status_code == 204


async def test_a_cancelled_update_loses_lease_and_lock_and_keeps_what_it_saved(
    http: httpx.AsyncClient,
) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    await update.create("a")

    assert (await stack.post(f"/update/{update.id}/cancel")).status_code == 204

    assert (await update.renew()).status_code == 403
    assert (await update.journal(entry(9, 0, 9))).status_code == 403
    assert (await stack.post(f"/update/{update.id}/cancel")).status_code == 204, "repeated"
    assert (await stack.get(f"/update/{update.id}"))["status"] == "cancelled"
    assert await stack.resources() == ["a"]
    done = await stack.run("b")
    assert done.version == 2
    assert (await stack.post(f"/update/{done.id}/cancel")).status_code == 409
    assert (await stack.post("/update/nothing/cancel")).status_code == 404


async def test_a_silent_engine_loses_the_lock_and_nothing_it_did(
    http: httpx.AsyncClient, world: World, clock: FakeClock
) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    await update.create("a")
    begun = {"resource": resource("b"), "type": "creating"}
    await update.journal(entry(10, 0, 10, operation=begun))
    assert await updates.expire(world) == 0
    clock.advance(LEASE_SECONDS)

    assert await updates.expire(world) == 1
    assert await materialise_all(world) == 1

    assert await updates.expire(world) == 0
    assert await materialise_all(world) == 0
    assert (await update.complete()).status_code == 403
    deployment = (await stack.export())["deployment"]
    assert [each["urn"] for each in deployment["resources"]] == [resource("a")["urn"]]
    assert deployment["pending_operations"] == [begun]
    [shown] = (await stack.get("/updates"))["updates"]
    assert (shown["result"], shown["resourceCount"]) == ("failed", 1)


async def test_the_next_start_does_not_wait_for_the_janitor(
    http: httpx.AsyncClient, clock: FakeClock
) -> None:
    stack = await new_stack(http)
    silent = await stack.start()
    await silent.create("a")
    clock.advance(LEASE_SECONDS)
    assert "currentOperation" not in await stack.get()
    after = await stack.start()
    assert after.version == 2
    assert await stack.resources() == ["a"], "what the dead one did is the base of the next"
    state_of_b = resource("b")
    await after.journal(entry(1, 1, 1, state=state_of_b), entry(2, 1, 2, removeOld=0))
    await after.complete()
    assert await stack.resources() == ["b"]
    assert await stack.resources(1) == ["a"]


async def test_materialising_twice_at_once_gives_one_state(
    http: httpx.AsyncClient, world: World, clock: FakeClock
) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    await update.create("a")
    clock.advance(LEASE_SECONDS)
    await updates.expire(world)
    await asyncio.gather(*(materialise(world, update.id) for _ in range(4)))
    assert await stack.resources() == ["a"]
    assert len(kept_objects(world)) == 1
    await materialise(world, "nothing")


async def test_leases_are_extended_after_a_restart(
    http: httpx.AsyncClient, world: World, clock: FakeClock
) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    ended = await (await new_stack(http, "other")).run("a")
    clock.advance(3600)
    await updates.extend_after_restart(world)
    assert await updates.expire(world) == 0
    assert (await update.renew()).status_code == 200
    assert (await ended.renew()).status_code == 403


async def test_an_update_of_another_stack_is_not_there(http: httpx.AsyncClient) -> None:
    stack, other = await new_stack(http), await new_stack(http, "other")
    update = await stack.start()
    assert (await other.http.get(f"{other.path}/update/{update.id}")).status_code == 404
    assert (await other.post(f"/update/{update.id}/cancel")).status_code == 404
    assert (await other.post(f"/update/{update.id}", {})).status_code == 404


async def test_i3_a_deployments_end_ends_its_updates_in_the_same_transaction(
    tmp_path: Path,
) -> None:
    async with make_farm(tmp_path) as farm:
        name = await farm.add_stack("shop", "dev")
        await farm.submit(name)
        grant = await farm.grant()
        cli = farm.unseal(grant, "cli")
        principal = await identity.authenticate(farm.world, cli)
        lease = await begin(farm.world, principal, name)
        assert (await farm.row(grant.deployment_id)).engine_started_at is not None
        waiting = await updates.create(farm.world, principal, name, PREVIEW)

        await farm.conclude(grant)

        with pytest.raises(UpdateLeaseEnded):
            await updates.renew(farm.world, lease)
        with pytest.raises(UpdateLeaseEnded):
            await state.append_journal(farm.world, lease, [])
        with pytest.raises(NotLoggedIn):
            await identity.authenticate(farm.world, cli)
        person = farm.principal()
        for update_id in (lease.update_id, waiting):
            assert await updates.status_of(farm.world, person, name, update_id) == "failed"
        await begin(farm.world, person, name)


async def test_i3_a_token_that_dies_between_two_looks_writes_nothing(tmp_path: Path) -> None:
    """The deployment ends after its request was authenticated and before its transaction."""
    async with make_farm(tmp_path) as farm:
        name = await farm.add_stack("shop", "dev")
        await farm.submit(name)
        grant = await farm.grant()
        principal = await identity.authenticate(farm.world, farm.unseal(grant, "cli"))
        known = await updates.create(farm.world, principal, name, UPDATE)
        await farm.release(grant)
        await farm.grant()  # the same deployment is live again, under another generation

        with pytest.raises(NotLoggedIn):
            await updates.create(farm.world, principal, name, UPDATE)
        with pytest.raises(NotLoggedIn):
            await updates.start(
                farm.world, principal, name, known, new_tags=None, journal_version=1
            )
        with pytest.raises(NotLoggedIn):
            await updates.cancel(farm.world, principal, name, known)
        with pytest.raises(NotLoggedIn):
            await state.import_(farm.world, principal, name, b'{"version":3,"deployment":{}}')


async def test_i3_a_lease_past_its_time_writes_nothing_before_anyone_notices(
    tmp_path: Path,
) -> None:
    async with make_farm(tmp_path) as farm:
        name = await farm.add_stack("shop", "dev")
        await farm.submit(name)
        principal = await identity.authenticate(farm.world, farm.unseal(await farm.grant(), "cli"))
        farm.clock.advance(farm.world.config.deployments.lease_seconds)
        with pytest.raises(NotLoggedIn):
            await updates.create(farm.world, principal, name, UPDATE)


async def test_a_lost_runners_state_is_what_its_engine_had_done(tmp_path: Path) -> None:
    async with make_farm(tmp_path) as farm:
        name = await farm.add_stack("shop", "dev")
        await farm.submit(name)
        grant = await farm.grant()
        principal = await identity.authenticate(farm.world, farm.unseal(grant, "cli"))
        lease = await begin(farm.world, principal, name)
        await journal(farm.world, lease, entry(1, 1, 1, state=resource("a")))
        farm.clock.advance(farm.world.config.deployments.lease_seconds)
        for deployment_id in await leases.expired(farm.world):
            await leases.reap(farm.world, deployment_id)

        exported = await state.export(farm.world, farm.principal(), name, "http://slipway.test")

        assert resource("a")["urn"].encode() in exported
        assert await farm.how(grant.deployment_id) == ("failed", "runner_lost")


async def begin(world: World, principal: Principal, name: StackName) -> Lease:
    """Create and start an update; returns its lease."""
    update_id = await updates.create(world, principal, name, UPDATE)
    started = await updates.start(
        world, principal, name, update_id, new_tags=None, journal_version=1
    )
    return update_lease.Lease(name, update_id, started.token)


async def journal(world: World, lease: Lease, *entries: dict[str, object]) -> None:
    await state.append_journal(world, lease, [Raw(msgspec.json.encode(each)) for each in entries])
