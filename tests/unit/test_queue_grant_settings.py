"""What a runner is told of a deployment's settings."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.domain.deployment_settings import require_options_max
from control_plane.domain.grant_settings import skips_intermediate, work_of
from control_plane.errors import BadRequest
from runner_actors.contract import GitSource, Value

SEALED = {"ciphertext": "c2VhbGVk"}


def test_nothing_given_is_nothing_told() -> None:
    for settings in ({}, {"sourceContext": None, "operationContext": None}):
        work = work_of(settings)
        assert work.source is None
        assert (work.environment, work.pre_run_commands, work.shell) == ({}, [], "")
        assert not skips_intermediate(settings)


def test_values_are_plain_or_sealed() -> None:
    variables = {"PLAIN": "p", "EMPTY": "", "SECRET": SEALED}
    work = work_of({"operationContext": {"environmentVariables": variables}})
    assert work.environment == {
        "PLAIN": Value(plain="p"),
        "EMPTY": Value(plain=""),
        "SECRET": Value(sealed="c2VhbGVk"),
    }


def test_all_kinds_of_credentials_have_their_place() -> None:
    auth = {
        "accessToken": SEALED,
        "sshAuth": {"sshPrivateKey": SEALED, "password": SEALED},
        "basicAuth": {"userName": "ada", "password": SEALED},
    }
    source = work_of({"sourceContext": {"git": {"repoUrl": "u", "gitAuth": auth}}}).source
    assert source is not None
    assert source.auth is not None
    told = source.auth
    assert told.access_token == told.ssh_private_key == told.ssh_passphrase == told.password
    assert (told.user_name, told.password) == (Value(plain="ada"), Value(sealed="c2VhbGVk"))


def test_a_tag_is_a_reference_unless_there_is_a_branch() -> None:
    git = {"repoUrl": "u", "tag": "v1"}
    assert work_of({"sourceContext": {"git": git}}).source == GitSource(
        repo_url="u", branch="refs/tags/v1"
    )
    assert work_of({"sourceContext": {"git": git | {"branch": "b"}}}).source == GitSource(
        repo_url="u", branch="b"
    )


def test_options() -> None:
    options = {
        "skipInstallDependencies": True,
        "deleteAfterDestroy": True,
        "shell": "sh",
        "skipIntermediateDeployments": True,
    }
    settings = {"operationContext": {"options": options, "preRunCommands": ["make"]}}
    work = work_of(settings)
    assert work.skip_install_dependencies
    assert work.delete_after_destroy
    assert (work.shell, work.pre_run_commands) == ("sh", ["make"])
    assert skips_intermediate(settings)


def test_what_one_operation_is_about() -> None:
    options = {
        "targets": ["urn:pulumi:dev::shop::t:index:T::a"],
        "targetDependents": True,
        "refresh": True,
        "message": "why",
    }
    work = work_of({"operationContext": {"options": options}})
    assert work.targets == options["targets"]
    assert work.target_dependents
    assert work.refresh
    assert work.message == "why"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"targets": ["urn:a"] * 51}, "targets"),
        ({"targets": [""]}, "targets"),
        ({"targets": ["u" * 2001]}, "targets"),
        ({"message": "m" * 2001}, "message"),
    ],
)
def test_options_that_no_command_line_could_hold_are_refused(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadRequest, match=said):
        require_options_max({"operationContext": {"options": options}})
    require_options_max({"operationContext": {"options": {"targets": ["u" * 2000] * 50}}})
