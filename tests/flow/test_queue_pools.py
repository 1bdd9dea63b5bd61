"""Pools: the default one, gateways that register, and keys that must not change by mistake."""

from __future__ import annotations

import base64
import json

import pytest

from control_plane.errors import BadRequest, Conflict, NotLoggedIn
from control_plane.services import identity, pools
from runner_actors.contract import Registration
from tests.support.queue import POOL_TOKEN, SOURCE, Farm, make_farm

SECRET = {"operationContext": {"environmentVariables": {"T": {"secret": "hunter2"}}}}


def registration(key: bytes, **more) -> Registration:
    return Registration(
        gateway_id="g",
        hostname="h",
        public_key=base64.b64encode(key).decode(),
        slipway_version="0",
        **more,
    )


def own_key(farm: Farm) -> bytes:
    return farm.key.public_key().public_bytes_raw()


async def test_there_is_one_default_pool_however_often_it_is_ensured(tmp_path):
    async with make_farm(tmp_path) as farm:
        assert await pools.ensure_default(farm.world, POOL_TOKEN) == farm.pool.id
        query = "SELECT name, organization_id, is_default FROM pools"
        assert await farm.ask(query) == [("default", None, 1)]


async def test_a_new_token_takes_the_place_of_the_old_one(tmp_path):
    async with make_farm(tmp_path) as farm:
        assert await pools.ensure_default(farm.world, "slp-new") == farm.pool.id
        assert (await identity.authenticate_pool(farm.world, "slp-new")).id == farm.pool.id
        with pytest.raises(NotLoggedIn):
            await identity.authenticate_pool(farm.world, POOL_TOKEN)


async def test_the_same_key_registers_again_with_or_without_secrets(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"), SOURCE | SECRET)
        answer = await pools.register(farm.world, farm.pool, registration(own_key(farm)))
        assert (answer.pool_id, answer.pool_name) == (farm.pool.id, "default")


async def test_another_key_is_taken_while_nothing_is_sealed(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        await pools.register(farm.world, farm.pool, registration(b"k" * 32))
        pool = await identity.authenticate_pool(farm.world, POOL_TOKEN)
        assert pool.public_key == b"k" * 32


async def test_another_key_is_refused_while_a_waiting_deployment_has_secrets(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"), SOURCE | SECRET)
        with pytest.raises(Conflict, match="another key already"):
            await pools.register(farm.world, farm.pool, registration(b"k" * 32))
        await farm.run(await farm.grant())
        assert await pools.register(farm.world, farm.pool, registration(b"k" * 32))


async def test_another_key_is_refused_while_stored_settings_have_secrets_for_this_pool(tmp_path):
    async with make_farm(tmp_path) as farm:
        other = await farm.add_pool("other", organization="acme")
        await farm.add_stack("shop", "web")
        body = {"operationContext": {"environmentVariables": {"T": {"ciphertext": "A" * 64}}}}
        await farm.sql(
            "INSERT INTO deployment_settings (stack_id, version, body, modified_at)"
            " SELECT id, 1, :body, 0 FROM stacks",
            body=json.dumps(body, separators=(",", ":")),
        )
        assert await pools.register(farm.world, other, registration(b"k" * 32))
        with pytest.raises(Conflict, match="1 stacks'"):
            await pools.register(farm.world, farm.pool, registration(b"k" * 32))


@pytest.mark.parametrize("key", [b"", b"short", b"k" * 33])
async def test_what_is_no_key_is_refused(tmp_path, key):
    async with make_farm(tmp_path) as farm:
        with pytest.raises(BadRequest, match="32 bytes"):
            await pools.register(farm.world, farm.pool, registration(key))


async def test_a_gateway_of_another_contract_is_refused_by_name(tmp_path):
    async with make_farm(tmp_path) as farm:
        with pytest.raises(Conflict, match="version 99"):
            await pools.register(
                farm.world, farm.pool, registration(own_key(farm), contract_version=99)
            )
