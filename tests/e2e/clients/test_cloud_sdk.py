"""Cloud REST SDK: whole lives of stacks, tokens, settings and deployments."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import pytest
from pulumi_cloud_sdk import models

from tests.e2e.clients.conftest import RecordedServer, RecordedSlipway
from tests.support import slipway
from tests.support.app import ADMIN, TOKEN
from tests.support.cloud import Cloud, new_stack, refused
from tests.support.programs import HANGING, OUTPUTS, repository
from tests.support.waiting import wait_for

VCS_KIND = models.AppStackTagName("vcs:kind")
ENDED = ("succeeded", "failed", "skipped")


@pytest.fixture(scope="module")
def cloud(recorded_server: RecordedServer) -> Cloud:
    return Cloud(recorded_server.url, TOKEN)


def test_a_stack_is_made_listed_tagged_renamed_and_deleted(cloud: Cloud) -> None:
    api = cloud.stacks
    with refused(404):
        cloud.organizations.project_exists(ADMIN, "life")
    stack = new_stack(cloud, "life", "first", tags={"team": "shop"})
    cloud.organizations.project_exists(ADMIN, "life")
    with refused(409):
        new_stack(cloud, "life", "first")

    shown = api.get_stack(*stack)
    assert (shown.org_name, shown.project_name, shown.stack_name) == stack
    assert shown.tags == {"pulumi:project": "life", "team": "shop"}
    assert (shown.version, shown.active_update, shown.current_operation) == (0, "", None)
    assert api.get_stack_metadata(*stack).owned_by.github_login == ADMIN

    api.add_stack_tag(*stack, models.StackTag(VCS_KIND, "git"))
    api.update_stack_tag(*stack, "vcs:kind", models.StackTag(VCS_KIND, "x"))
    assert api.get_stack(*stack).tags["vcs:kind"] == "x"
    api.delete_stack_tag(*stack, "vcs:kind")
    api.update_stack_tags(*stack, {"team": "pay"})
    assert api.get_stack(*stack).tags == {"team": "pay"}

    api.rename_stack(*stack, models.AppStackRenameRequest(new_name="second", new_project="later"))
    with refused(404):
        api.get_stack(*stack)
    stack = (ADMIN, "later", "second")
    assert api.get_stack(*stack).project_name == "later"
    api.delete_stack(*stack, force=False)
    with refused(404):
        api.get_stack(*stack)


def test_stacks_are_listed_in_pages(cloud: Cloud) -> None:
    for number in range(5):
        new_stack(cloud, "pages", f"s{number}", tags={"kind": "odd" if number % 2 else "even"})

    def listed(**filters: Any) -> list[str]:
        names, token = [], None
        while True:
            page = cloud.users.list_user_stacks(
                project="pages", max_results=2, continuation_token=token, **filters
            )
            names += [stack.stack_name for stack in page.stacks]
            token = page.continuation_token
            if not token:
                return names

    assert listed() == ["s0", "s1", "s2", "s3", "s4"]
    assert listed(organization=ADMIN, tag_name="kind", tag_value="odd") == ["s1", "s3"]
    assert listed(tag_name="nothing") == []


def test_values_are_encrypted_and_decrypted(cloud: Cloud) -> None:
    api = cloud.stacks
    stack = new_stack(cloud, "sdk", "secrets")
    one = api.encrypt_value(*stack, models.AppEncryptValueRequest(plaintext=b"\x00one\xff"))
    again = api.decrypt_value(*stack, models.AppDecryptValueRequest(ciphertext=one.ciphertext))
    assert again.plaintext == b"\x00one\xff"
    many = api.batch_encrypt_value(*stack, models.AppBatchEncryptRequest(plaintexts=[b"a", b"b"]))
    back = api.batch_decrypt_value(
        *stack, models.AppBatchDecryptRequest(ciphertexts=many.ciphertexts)
    )
    keys = [base64.b64encode(each).decode() for each in many.ciphertexts]
    assert [back.plaintexts[key] for key in keys] == [b"a", b"b"]
    told = models.AppLog3rdPartyDecryptionEvent(secret_name="sdk:key", command_name="sdk")
    api.log_only_decrypt_value(*stack, told)
    api.log_only_batch_decrypt_value(*stack, told)


def test_the_user_the_tokens_and_the_organizations(cloud: Cloud) -> None:
    user = cloud.users.get_current_user()
    assert user.github_login == ADMIN
    assert [each.github_login for each in user.organizations] == [ADMIN]
    assert cloud.users.get_default_organization().git_hub_login == ADMIN
    assert cloud.organizations.get_organization(ADMIN).github_login == ADMIN
    (member,) = cloud.organizations.list_organization_members(ADMIN).members
    assert (member.user.github_login, member.role) == (ADMIN, "admin")
    assert "batch-encrypt" in [each.capability for each in cloud.other.capabilities().capabilities]

    in_an_hour = int(time.time()) + 3600
    made = cloud.users.create_personal_token(
        models.CreatePersonalAccessTokenRequest(description="for CI", expires=in_an_hour)
    )
    second = Cloud(cloud.url, made.token_value)
    (mine,) = [each for each in second.users.list_personal_tokens().tokens if each.id == made.id]
    assert (mine.description, mine.expires, mine.created_by) == ("for CI", in_an_hour, ADMIN)
    cloud.users.delete_personal_token(made.id)
    with refused(401):
        second.users.get_current_user()


@pytest.fixture(scope="module")
def real(recorded_slipway: RecordedSlipway) -> Cloud:
    return Cloud(recorded_slipway.url, slipway.TOKEN)


def settings(**environment: Any) -> Any:
    return models.DeploymentSettingsRequest(
        source_context=models.SourceContextRequest(
            git=models.SourceContextGitRequest(repo_url="https://git.invalid/infra", branch="main")
        ),
        operation_context=models.OperationContextRequest(
            pre_run_commands=["make"],
            environment_variables=environment,
            options=models.OperationContextOptionsRequest(skip_install_dependencies=True),
        ),
        cache_options=models.CacheOptionsRequest(enable=True),
    )


def test_settings_are_put_patched_read_and_removed(real: Cloud) -> None:
    api = real.deployments
    stack = new_stack(real, "sdk", "settings", slipway.USER)
    with refused(404):
        api.get_deployment_settings(*stack)
    sealed = api.encrypt_deployment_settings_secret(*stack, models.SecretValue(secret="hidden"))
    assert sealed.ciphertext
    assert not sealed.secret
    plain = models.SecretValue(secret="", plaintext="eu-west-1")
    api.replace_deployment_settings(
        *stack, settings(REGION=plain, KEY=models.SecretValue(secret="hidden"), SEALED=sealed)
    )
    put = api.get_deployment_settings(*stack)
    assert put.source_context.git.repo_url == "https://git.invalid/infra"
    variables = put.operation_context.environment_variables
    assert variables["REGION"].plaintext == "eu-west-1"
    assert variables["KEY"].ciphertext
    assert variables["SEALED"].ciphertext == sealed.ciphertext
    assert not variables["KEY"].plaintext
    assert not variables["KEY"].secret

    patched = api.patch_deployment_settings(
        *stack,
        models.DeploymentSettingsRequest(
            operation_context=models.OperationContextRequest(
                environment_variables={"REGION": models.SecretValue("", "us-east-1"), **variables}
                | {"REGION": models.SecretValue("", "us-east-1")}
            )
        ),
    )
    variables = patched.operation_context.environment_variables
    assert variables["REGION"].plaintext == "us-east-1"
    assert variables["SEALED"].ciphertext == sealed.ciphertext
    assert patched.source_context.git.branch == "main"
    assert api.get_deployment_settings(*stack).source == "api"
    assert api.delete_deployment_settings(*stack) is True
    with refused(404):
        api.get_deployment_settings(*stack)


def from_git(source: Path, operation: str, **environment: Any) -> Any:
    return models.CreateDeploymentRequest(
        operation=models.PulumiOperation(operation),
        source_context=models.SourceContextRequest(
            git=models.SourceContextGitRequest(repo_url=str(source), branch="main")
        ),
        operation_context=models.OperationContextRequest(
            environment_variables=environment,
            options=models.OperationContextOptionsRequest(skip_install_dependencies=True),
        ),
    )


def ended(api: Any, stack: tuple[str, str, str], deployment_id: str) -> Any:
    """The deployment once it has ended."""

    def over() -> Any:
        found = api.get_deployment(*stack, deployment_id)
        return found if found.status.value in ENDED else None

    return wait_for(over, f"deployment {deployment_id} has ended", 120)


def whole_log(api: Any, stack: tuple[str, str, str], deployment_id: str) -> list[Any]:
    """All lines, by following the stream to its end."""
    lines, token = [], None
    while True:
        page = api.get_deployment_logs(*stack, deployment_id, continuation_token=token)
        lines += page.lines
        token = page.next_token
        if not token:
            return lines


def test_deployments_from_their_request_to_their_log(real: Cloud, tmp_path: Path) -> None:
    api = real.deployments
    source = repository(tmp_path / "program", "deployed", OUTPUTS)
    stack = new_stack(real, "deployed", "dev", slipway.USER)
    made = api.create_api_deployment_handler_v2(
        *stack,
        from_git(
            source,
            "update",
            REGION=models.SecretValue("", "eu-west-1"),
            KEY=models.SecretValue(secret="never shown"),
        ),
    )
    assert made.version == 1
    assert made.console_url.endswith("/deployed/dev/deployments/1")
    lines = whole_log(api, stack, made.id)
    assert "pulumi update" in [each.header for each in lines]
    assert any("answer" in (each.line or "") for each in lines)
    done = ended(api, stack, made.id)
    assert (done.status, done.pulumi_operation, done.version) == ("succeeded", "update", 1)
    assert [step.name for step in done.jobs[0].steps] == ["Get source", "pulumi update"]
    shown = {each.name: each for each in done.configuration.environment_variables}
    assert (shown["REGION"].value, shown["KEY"].secret) == ("eu-west-1", True)
    assert api.get_deployment_version(*stack, "1").id == made.id
    (update,) = api.get_deployment_updates(*stack, made.id)
    assert (update.version, update.info.result) == (1, "succeeded")
    assert real.stacks.get_engine_events_update(*stack, update.update_id).events

    step = api.get_deployment_logs(*stack, made.id, job=0, step=1, offset=0, count=2)
    assert (step.name, len(step.lines)) == ("pulumi update", 2)
    rest = api.get_deployment_logs(*stack, made.id, job=0, step=1, offset=step.next_offset)
    assert rest.lines

    api.replace_deployment_settings(
        *stack,
        models.DeploymentSettingsRequest(
            source_context=from_git(source, "update").source_context,
            operation_context=from_git(source, "update").operation_context,
        ),
    )
    inherited = api.create_api_deployment_handler_v2(
        *stack,
        models.CreateDeploymentRequest(
            operation=models.PulumiOperation("destroy"), inherit_settings=True
        ),
    )
    assert ended(api, stack, inherited.id).status == "succeeded"
    listed = api.list_stack_deployments_handler_v2(*stack, page=1, page_size=1, asc=False)
    assert (listed.total, listed.items_per_page) == (2, 1)
    assert [each.id for each in listed.deployments] == [inherited.id]
    assert [each.kind for each in listed.deployments[0].updates] == ["destroy"]
    everywhere = api.list_org_deployments(slipway.USER, page=1, page_size=100)
    assert {made.id, inherited.id} <= {each.id for each in everywhere.deployments}


def test_deployments_are_cancelled_paused_and_counted(real: Cloud, tmp_path: Path) -> None:
    api = real.deployments
    source = repository(tmp_path / "hanging", "hanging", HANGING)
    stack = new_stack(real, "hanging", "dev", slipway.USER)
    with refused(400):
        api.pause_stack_deployments(*stack)
    api.replace_deployment_settings(*stack, settings())
    api.pause_stack_deployments(*stack)
    assert api.stack_deployments_metadata(*stack).stack_paused
    waits = api.create_api_deployment_handler_v2(*stack, from_git(source, "preview"))
    assert api.get_deployment(*stack, waits.id).status == "not-started"
    api.cancel_deployment(*stack, waits.id)
    assert ended(api, stack, waits.id).status == "skipped"
    api.pause_org_deployments(slipway.USER)
    assert api.stack_deployments_metadata(*stack).organization_paused
    assert api.org_deployments_metadata(slipway.USER).paused
    api.resume_org_deployments(slipway.USER)
    api.resume_stack_deployments(*stack)
    assert not api.stack_deployments_metadata(*stack).paused

    runs = api.create_api_deployment_handler_v2(*stack, from_git(source, "update"))
    wait_for(lambda: says(api, stack, runs.id, "hanging now"), "the program hangs", 60)
    api.cancel_deployment(*stack, runs.id)
    assert ended(api, stack, runs.id).status == "failed"
    counted = api.org_deployments_metadata(slipway.USER)
    assert (counted.paused, counted.concurrency) == (False, 10)
    assert counted.deployment_counts.skipped == 1
    with refused(404):
        api.get_deployment(*stack, "no-such-deployment")


def says(api: Any, stack: tuple[str, str, str], deployment_id: str, text: str) -> bool:
    page = api.get_deployment_logs(*stack, deployment_id)
    return any(text in (each.line or "") for each in page.lines)
