"""Deployment settings: what is accepted, how a patch merges, what one request changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.deployment_request import one_run_patch
from control_plane.domain.deployment_settings import (
    configuration_of,
    merge,
    require_own_image,
    require_variables_max,
)
from control_plane.errors import BadRequest

STORED: dict[str, Any] = {
    "agentPoolID": "pool-1",
    "executorContext": {"workingDirectory": "/w", "executorImage": {"reference": "pulumi/pulumi"}},
    "sourceContext": {
        "git": {
            "repoUrl": "https://git.example/r.git",
            "branch": "main",
            "repoDir": "infra",
            "gitAuth": {"accessToken": {"ciphertext": "A" * 64}},
        }
    },
    "operationContext": {
        "preRunCommands": ["make deps"],
        "environmentVariables": {"PLAIN": "1", "SEALED": {"ciphertext": "B" * 64}},
        "options": {"skipInstallDependencies": True, "skipIntermediateDeployments": True},
    },
    "cacheOptions": {"enable": True},
    "futureField": {"deep": [1, {"x": None}]},
}


def what_cli_sends(**changes: Any) -> dict[str, Any]:
    """The body of `pulumi deployment run update` without flags, byte for byte its fields."""
    return {
        "operation": "update",
        "inheritSettings": True,
        "executorContext": {"workingDirectory": ""},
        "operationContext": {"preRunCommands": [], "operation": "", "environmentVariables": {}},
        "agentPoolID": None,
    } | changes


def inherited(request: dict[str, Any], *, from_cli: bool = True) -> dict[str, Any]:
    return merge(STORED, one_run_patch(request, from_cli=from_cli))


def test_objects_merge_null_removes_the_rest_replaces() -> None:
    patch = {
        "agentPoolID": None,
        "executorContext": {"workingDirectory": "/v"},
        "operationContext": {
            "preRunCommands": ["a", "b"],
            "environmentVariables": {"PLAIN": None, "NEW": "2"},
            "options": {"shell": "bash"},
        },
        "cacheOptions": {"enable": "false"},
        "futureField": {"deep": [2], "more": True},
    }
    merged = merge(STORED, patch)
    assert "agentPoolID" not in merged
    assert merged["executorContext"] == {
        "workingDirectory": "/v",
        "executorImage": {"reference": "pulumi/pulumi"},
    }
    assert merged["operationContext"] == {
        "preRunCommands": ["a", "b"],
        "environmentVariables": {"SEALED": {"ciphertext": "B" * 64}, "NEW": "2"},
        "options": {
            "skipInstallDependencies": True,
            "skipIntermediateDeployments": True,
            "shell": "bash",
        },
    }
    assert merged["cacheOptions"] == {"enable": False}
    assert merged["futureField"] == {"deep": [2], "more": True}
    assert merged["sourceContext"] == STORED["sourceContext"]


def test_a_replaced_secret_leaves_nothing_of_the_old_one() -> None:
    variables = {"SEALED": {"secret": "new"}, "PLAIN": {"secret": "p"}}
    merged = merge(STORED, {"operationContext": {"environmentVariables": variables}})
    assert merged["operationContext"]["environmentVariables"] == variables
    back = merge(merged, {"operationContext": {"environmentVariables": {"SEALED": "plain"}}})
    assert back["operationContext"]["environmentVariables"]["SEALED"] == "plain"


def test_variables_may_be_called_like_the_words_of_the_wire() -> None:
    variables = {"secret": "1", "ciphertext": "2", "isSecret": {"secret": "3"}, "value": "4"}
    merged = merge(STORED, {"operationContext": {"environmentVariables": variables}})
    for name, value in variables.items():
        assert merged["operationContext"]["environmentVariables"][name] == value


def test_unknown_fields_are_kept_and_told_fields_are_not() -> None:
    merged = merge(None, {"version": 7, "source": "console", "tag": "t", "brand": {"new": [1]}})
    assert merged == {"tag": "t", "brand": {"new": [1]}}
    assert merge({"version": 7, "source": "api", "tag": "t"}, {}) == {"tag": "t"}


def test_other_spellings() -> None:
    url = "https://git.example/x"
    merged = merge(None, {"sourceContext": {"git": {"repoURL": url}}, "agentPoolId": "p"})
    assert merged == {"sourceContext": {"git": {"repoUrl": url}}, "agentPoolID": "p"}
    both = merge(None, {"sourceContext": {"git": {"repoURL": "old", "repoUrl": url}}})
    assert both == {"sourceContext": {"git": {"repoUrl": url}}}


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"agentPoolID": 1}, "agentPoolID"),
        ({"executorContext": []}, "executorContext"),
        ({"executorContext": {"workingDirectory": 1}}, "executorContext.workingDirectory"),
        ({"sourceContext": {"git": "x"}}, "sourceContext.git"),
        ({"sourceContext": {"git": {"repoUrl": ["x"]}}}, "sourceContext.git.repoUrl"),
        ({"sourceContext": {"git": {"gitAuth": {"sshAuth": 3}}}}, "git.gitAuth.sshAuth"),
        ({"operationContext": {"preRunCommands": "make"}}, "operationContext.preRunCommands"),
        ({"operationContext": {"preRunCommands": ["a", 1]}}, "operationContext.preRunCommands"),
        ({"operationContext": {"environmentVariables": []}}, "environmentVariables"),
        ({"operationContext": {"environmentVariables": {"N": 5}}}, "environmentVariables.N"),
        ({"operationContext": {"environmentVariables": {"N": {"secret": 5}}}}, "Variables.N"),
        ({"operationContext": {"environmentVariables": {"N": "a\x00b"}}}, "Variables.N"),
        ({"operationContext": {"environmentVariables": {"A=B": "x"}}}, "environmentVariables"),
        ({"operationContext": {"environmentVariables": {"": "x"}}}, "environmentVariables"),
        ({"operationContext": {"environmentVariables": {"N": {"ciphertext": "!"}}}}, "N.cipher"),
        ({"operationContext": {"environmentVariables": {"N": {"ciphertext": "AAAA"}}}}, "N.ci"),
        ({"operationContext": {"environmentVariables": {"N": {"ciphertext": 7}}}}, "N.cipher"),
        ({"operationContext": {"options": {"skipInstallDependencies": "yes"}}}, "skipInstall"),
        ({"gitHub": {"deployPullRequest": "7"}}, "gitHub.deployPullRequest"),
        ({"gitHub": {"deployPullRequest": True}}, "gitHub.deployPullRequest"),
        ({"gitHub": {"paths": {}}}, "gitHub.paths"),
        ({"vcs": {"deployCommits": 1}}, "vcs.deployCommits"),
        ({"cacheOptions": {"enable": "sometimes"}}, "cacheOptions.enable"),
    ],
)
def test_a_wrong_type_is_named(patch: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        merge(STORED, patch)
    assert field in caught.value.message


def test_a_body_that_is_no_object() -> None:
    with pytest.raises(BadRequest, match="The body must be an object"):
        merge(None, [])  # type: ignore[arg-type]


def test_nesting_has_a_limit() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"a": [deep]}
    with pytest.raises(BadRequest, match="nested"):
        merge(None, {"new": deep})


def executor(image: Any) -> dict[str, Any]:
    return merge(None, {"executorContext": {"executorImage": image}})


@pytest.mark.parametrize(
    "image",
    [
        "pulumi/pulumi",
        "pulumi/pulumi:3.259.0",
        "docker.io/pulumi/pulumi:latest",
        "index.docker.io/pulumi/pulumi:3.100.0-nonroot",
        "public.ecr.aws/pulumi/pulumi",
        "ghcr.io/pulumi/pulumi-go:latest",
        "pulumi/pulumi-python",
        "pulumi/pulumi-nodejs:3.259.0-debian",
        {"reference": "pulumi/pulumi"},
        {"isDefault": True},
        "",
        None,
    ],
)
def test_the_images_that_runners_hold(image: Any) -> None:
    require_own_image(executor(image))


@pytest.mark.parametrize(
    "image",
    [
        "ghcr.io/acme/runner:1",
        {"reference": "pulumi/pulumi-dotnet"},
        "pulumi/pulumi-python-3.12",
        "evil/pulumi/pulumi",
        "evil.test/pulumi/pulumi",
        "pulumi/pulumi@sha256:" + 64 * "0",
        "pulumi/pulumi:x\n",
        "pulumi/pulumi:" + 129 * "x",
    ],
)
def test_another_image_is_kept_but_refused_by_name(image: Any) -> None:
    name = image if isinstance(image, str) else image["reference"]
    settings = executor(image)
    assert settings["executorContext"]["executorImage"]["reference"] == name
    with pytest.raises(BadRequest) as caught:
        require_own_image(settings)
    assert name in caught.value.message
    assert "executorContext.executorImage" in caught.value.message


@pytest.mark.parametrize(
    ("stored", "patch", "left"),
    [
        ({"branch": "main"}, {"commit": "abc"}, {"commit": "abc"}),
        ({"commit": "abc"}, {"branch": "main"}, {"branch": "main"}),
        ({"tag": "v1"}, {"branch": "m", "commit": "c"}, {"branch": "m", "commit": "c"}),
        ({"branch": "main"}, {"repoDir": "d"}, {"branch": "main", "repoDir": "d"}),
        ({"branch": "main", "commit": "c"}, {"commit": None}, {"branch": "main"}),
    ],
)
def test_who_names_what_to_check_out_means_that_alone(
    stored: dict[str, Any], patch: dict[str, Any], left: dict[str, Any]
) -> None:
    merged = merge({"sourceContext": {"git": stored}}, {"sourceContext": {"git": patch}})
    assert merged["sourceContext"]["git"] == left


def test_the_cli_without_flags_changes_nothing_of_what_it_inherits() -> None:
    assert inherited(what_cli_sends()) == STORED


def test_the_cli_with_some_flags_changes_these() -> None:
    git = {"repoUrl": "", "branch": "", "commit": "abcdef"}
    request = what_cli_sends(
        sourceContext={"git": git},
        operationContext={
            "preRunCommands": ["true"],
            "operation": "",
            "environmentVariables": {"EMPTY": "", "S": {"secret": "s"}},
            "options": {
                "skipInstallDependencies": True,
                "skipIntermediateDeployments": False,
                "shell": "",
                "deleteAfterDestroy": False,
                "remediateIfDriftDetected": False,
            },
        },
        agentPoolID="pool-2",
    )
    merged = inherited(request)
    assert merged["agentPoolID"] == "pool-2"
    source = dict(STORED["sourceContext"]["git"], commit="abcdef")
    del source["branch"]
    assert merged["sourceContext"]["git"] == source
    operation = merged["operationContext"]
    assert operation["preRunCommands"] == ["true"]
    assert operation["options"] == STORED["operationContext"]["options"]
    variables = STORED["operationContext"]["environmentVariables"]
    assert operation["environmentVariables"] == variables | {"EMPTY": "", "S": {"secret": "s"}}


def test_a_request_that_means_it_can_remove_and_turn_off() -> None:
    request = {
        "operation": "update",
        "operationContext": {
            "preRunCommands": None,
            "options": {"skipIntermediateDeployments": False},
        },
        "cacheOptions": None,
    }
    merged = inherited(request, from_cli=False)
    assert "preRunCommands" not in merged["operationContext"]
    assert merged["operationContext"]["options"]["skipIntermediateDeployments"] is False
    assert "cacheOptions" not in merged


def test_what_a_deployment_shows() -> None:
    shown = configuration_of(STORED)
    assert shown == {
        "environmentVariables": [
            {"name": "PLAIN", "value": "1", "secret": False},
            {"name": "SEALED", "value": "", "secret": True},
        ],
        "source": {
            "git": {
                "repoURL": "https://git.example/r.git",
                "branch": "main",
                "repoDir": "infra",
                "commit": "",
            }
        },
    }
    assert configuration_of({}) == {"environmentVariables": [], "source": {}}


def test_the_number_of_variables_is_bounded() -> None:
    settings = {"operationContext": {"environmentVariables": {f"V{n}": "" for n in range(3)}}}
    require_variables_max(settings, 3)
    with pytest.raises(BadRequest, match="has 3 entries, and may have 2"):
        require_variables_max(settings, 2)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
unknown_objects = st.dictionaries(st.text(max_size=4).map("x-{}".format), json_values, max_size=4)


def merge_patch(target: Any, patch: Any) -> Any:
    """The pseudocode of RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


@settings(deadline=None)
@given(unknown_objects, unknown_objects)
def test_merging_is_the_standard_merge_patch(first: dict[str, Any], second: dict[str, Any]) -> None:
    stored = merge(None, first)
    assert stored == merge_patch({}, first)
    before = copy.deepcopy(stored)
    assert merge(stored, second) == merge_patch(stored, second)
    assert stored == before


@settings(deadline=None)
@given(unknown_objects)
def test_merging_the_same_patch_again_changes_nothing(patch: dict[str, Any]) -> None:
    once = merge(STORED, patch)
    assert merge(once, patch) == once


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@git.test/r",
        "https://hunter2@git.test/r",
        " HTTPS://hunter2@git.test/r",
        "https://user:hunter2@git.test",
        "ssh://git:hunter2@git.test/r",
        "git:hunter2@git.test:r",
    ],
)
@pytest.mark.parametrize(
    ("kind", "field"), [("git", "repoUrl"), ("git", "repoURL"), ("template", "sourceUrl")]
)
def test_credentials_in_an_address_are_refused(url: str, kind: str, field: str) -> None:
    with pytest.raises(BadRequest, match="gitAuth") as caught:
        merge(None, {"sourceContext": {kind: {field: url}}})
    assert f"sourceContext.{kind}." in caught.value.message
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    ["https://git.test/r@v1", "ssh://git@git.test/r", "git@git.test:r", "/srv/a:b@c", ""],
)
def test_an_address_without_credentials_is_kept(url: str) -> None:
    git = {"repoUrl": url}
    assert merge(None, {"sourceContext": {"git": git}})["sourceContext"]["git"] == git


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ("https://git.test/r", "https://git.test/other", True),
        ("https://git.test/r", "https://GIT.test/r", True),
        ("git@git.test:r", "ssh://other@git.test/r", True),
        (None, "https://git.test/r", True),
        ("https://git.test/r", "https://evil.test/r", False),
        ("https://git.test/r", "http://git.test/r", False),
        ("https://git.test/r", "https://git.test:8443/r", False),
        ("https://git.test/r", "https://git.test.evil.test/r", False),
        ("git@git.test:r", "git@evil.test:r", False),
        # Else two steps would do what one may not.
        ("https://git.test/r", None, False),
    ],
)
@pytest.mark.parametrize(
    ("kind", "address", "auth"),
    [("git", "repoUrl", "gitAuth"), ("hg", "repoUrl", "hgAuth")],
)
def test_credentials_stay_with_their_server(
    before: str | None, after: str | None, kept: bool, kind: str, address: str, auth: str
) -> None:
    token = {"ciphertext": "A" * 64}
    stored = {"sourceContext": {kind: {address: before, auth: {"accessToken": token}}}}
    source = merge(stored, {"sourceContext": {kind: {address: after}}})["sourceContext"][kind]
    assert (auth in source) == kept


def test_credentials_for_the_new_server_come_alone() -> None:
    auth = {"basicAuth": {"password": {"secret": "new"}}}
    git = {"repoUrl": "https://other.test/r", "gitAuth": auth}
    merged = merge(STORED, {"sourceContext": {"git": git}})
    assert merged["sourceContext"]["git"]["gitAuth"] == auth
    assert "gitAuth" in STORED["sourceContext"]["git"]
