"""Cloud REST SDK: updates of every kind, in every form, and all that is read of them.

The SDK makes the updates too, in the place of an engine, so that each call of one is made.
"""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from pulumi_cloud_sdk import models

from control_plane.app import create_app, open_world
from control_plane.domain import update as updates
from control_plane.services import identity
from tests.e2e.clients.conftest import RecordedServer
from tests.support import cloud as cloud_support
from tests.support import cloud_schema
from tests.support.app import ADMIN, TOKEN
from tests.support.cloud import Cloud, Engine, new_stack, refused, state_of
from tests.support.waiting import wait_for

KINDS = sorted(updates.PATHS)


@pytest.fixture(scope="module")
def cloud(recorded_server: RecordedServer) -> Cloud:
    return Cloud(recorded_server.url, TOKEN)


def test_an_update_is_made_and_read(cloud: Cloud) -> None:
    api = cloud.stacks
    stack = new_stack(cloud, "sdk", "dev")
    with refused(404):
        api.get_latest_stack_update(*stack)
    preview = Engine(cloud, stack, dry_run=True)
    preview.events("a")
    preview.complete()
    update = Engine(cloud, stack)
    with refused(409):
        Engine(cloud, stack)
    assert api.get_stack(*stack).current_operation.kind == "update"
    assert update.status() == "running"
    assert update.renew()
    update.run("a", "b")

    shown = api.get_stack(*stack)
    assert (shown.version, shown.active_update, shown.current_operation) == (1, update.id, None)
    latest = api.get_latest_stack_update(*stack)
    assert (latest.update_id, latest.version, latest.latest_version) == (update.id, 1, 1)
    assert (latest.info.kind, latest.info.result) == ("update", "succeeded")
    assert (latest.info.message, latest.info.resource_changes) == ("by the SDK", {"create": 2})
    assert latest.info.config["sdk:size"].string == "3"
    assert latest.requested_by.github_login == ADMIN
    assert api.get_stack_update(*stack, 1).update_id == update.id
    summary = api.get_stack_update_summary(*stack, 1)
    assert (summary.result, summary.resource_count) == ("succeeded", 2)

    page = api.get_stack_updates(*stack, output_type="service", page=1, page_size=10)
    assert [each["updateID"] for each in page["updates"]] == [update.id]
    assert api.get_stack_updates(*stack, page=1, page_size=10)["updates"][0]["version"] == 1

    assert [each.update_id for each in api.get_latest_stack_previews(*stack).updates] == [
        preview.id
    ]
    assert [each.update_id for each in api.get_stack_previews(*stack, 1).updates] == [preview.id]
    assert api.get_stack_preview(*stack, preview.id).info.kind == "preview"
    assert api.get_stack_preview_summary(*stack, preview.id).result == "succeeded"
    for timeline in (api.get_latest_update_timeline(*stack), api.get_update_timeline(*stack, 1)):
        assert timeline.update.update_id == update.id
        assert [each.update_id for each in timeline.previews] == [preview.id]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_every_call(cloud: Cloud, kind: str) -> None:
    stack = new_stack(cloud, "kinds", kind)
    dry_run = kind == "preview"
    update = Engine(cloud, stack, kind, dry_run=dry_run)
    assert update.status() == "running"
    assert update.renew()
    update.events("a")
    names = ["a"]
    if not dry_run:
        before = update.verbatim(1, *names)
        names = ["a", "b"]
        update.delta(2, before, *names)
        update.checkpoint(*names)
    update.complete()
    assert update.status() == "succeeded"
    if not dry_run:
        exported = cloud.stacks.export_stack(*stack).deployment
        assert exported["resources"] == state_of(stack, *names)["resources"]

    page = update.call("get_engine_events")
    assert page.events[0].stdout_event.message == "hello"
    assert page.events[1].resource_pre_event.metadata.op == "create"
    assert page.events[2].summary_event.result == "succeeded"
    kinds = ["stdoutEvent", "resourcePreEvent", "summaryEvent"]
    assert [each.type for each in page.events] == kinds
    assert not page.continuation_token

    second = Engine(cloud, stack, kind, dry_run=dry_run, journal=0 if dry_run else 1)
    if dry_run:
        with refused(403):
            second.journal("c")
    else:
        second.journal("c")
    running = second.call("get_engine_events")
    assert running.continuation_token, "more may come"
    second.call("cancel_update")
    assert second.status() == "cancelled"
    with refused(403):
        second.renew()


def test_state_is_exported_imported_and_kept_by_version(cloud: Cloud) -> None:
    api = cloud.stacks
    stack = new_stack(cloud, "sdk", "state")
    assert "resources" not in api.export_stack(*stack).deployment
    Engine(cloud, stack).run("a")
    exported = api.export_stack(*stack)
    exported.deployment["resources"] = state_of(stack, "a", "b")["resources"]
    request = models.AppImportStackRequest(version=exported.version, deployment=exported.deployment)
    imported = api.import_stack(*stack, request)
    assert api.get_update_status_for_update(*stack, imported.update_id).status == "succeeded"
    assert len(api.export_stack(*stack).deployment["resources"]) == 2
    assert len(api.export_stack_at_version(*stack, 1).deployment["resources"]) == 1
    assert api.get_latest_stack_update(*stack).info.kind == "import"
    with refused(400):
        api.delete_stack(*stack)
    api.delete_stack(*stack, force=True)


def test_outputs_configuration_and_policies(cloud: Cloud) -> None:
    api = cloud.stacks
    stack = new_stack(cloud, "sdk", "outputs")
    assert not api.get_stack_outputs(*stack).outputs
    assert api.get_stack_policy_packs(*stack).required_policies == []
    with refused(404):
        api.get_stack_config(*stack)
    api.delete_stack_config(*stack)
    environment = models.AppStackConfig(environment="team/env")
    with refused(400):
        api.update_stack_config(*stack, environment)
    assert cloud.organizations.get_org_templates(ADMIN).templates == {}
    assert cloud.registry.list_packages().packages == []
    assert cloud.registry.list_templates().templates == []
    with refused(404):
        cloud.registry.get_package_version("private", ADMIN, "nothing", "latest")
    with refused(404):
        cloud.registry.get_template_version("private", ADMIN, "nothing", "latest")


def test_a_stack_changes_hands(recorded_server: RecordedServer, cloud: Cloud) -> None:
    administer(recorded_server, identity.create_organization, "guild", ADMIN)
    administer(recorded_server, identity.bootstrap, "bob", "pul-" + "b" * 48)
    administer(recorded_server, identity.add_member, "guild", "bob", "member")
    # The server remembers for a moment who was where.
    wait_for(lambda: len(cloud.users.get_current_user().organizations) == 2, "ada is in two")
    api = cloud.stacks
    stack = new_stack(cloud, "sdk", "moving")
    api.transfer_stack(*stack, models.TransferStackRequest(to_org="guild"))
    with refused(404):
        api.get_stack(*stack)
    stack = ("guild", *stack[1:])
    bob = models.UserInfo(name="", github_login="bob", avatar_url="")
    assert api.reassign_stack_ownership(*stack, bob).github_login == ADMIN
    assert api.get_stack_metadata(*stack).owned_by.github_login == "bob"
    assert cloud.organizations.get_organization_metadata("guild").member_count == 2
    cloud.users.update_default_organization("guild")
    assert cloud.users.get_default_organization().git_hub_login == "guild"
    cloud.users.update_default_organization(ADMIN)
    cloud.deployments.clear_project_cache(*stack)


def administer(server: RecordedServer, verb: Any, *arguments: Any) -> None:
    """Do what an administrator does on the server's machine."""

    async def run() -> None:
        world = open_world(server.world.config)
        try:
            await verb(world, *arguments)
        finally:
            await world.database.close()

    asyncio.run(run())


def test_each_operation_that_is_served_is_called_here(recorded_server: RecordedServer) -> None:
    """What the SDK can call and this server answers is called in these files."""
    called = _words_of(__file__, cloud_support.__file__, __file__.replace("_updates", ""))
    served = {name for name, module in _served(recorded_server) if module != "unbuilt"}
    assert len(served) > 100, "the routes were read"
    kind = re.compile(rf"_({'|'.join(KINDS)})\Z")
    assert {name for name in served if not {name, kind.sub("", name)} & called} == set()


def _served(server: RecordedServer) -> set[tuple[str, str]]:
    """Operations of the SDK that a route answers, with the route's module."""
    found = set()
    for route in create_app(server.world, loops=False).routes:
        for method, (handler, _) in getattr(route, "route_handler_map", {}).items():
            path = re.sub(r"\{\w+:(\w+)\}", r"\1", route.path)
            operation = cloud_schema.find(method, path)
            if operation is not None:
                module = handler.fn.__module__.rpartition(".")[2]
                found.add((operation.name, module))
    return found


def _words_of(*files: str) -> set[str]:
    """Names of attributes, and texts: `getattr` takes those."""
    words = set()
    for file in files:
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.Attribute):
                words.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value.rstrip("_"))
    return words
