"""What is answered to clients of the published schema, and what they send: the Cloud REST SDK."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pulumi_cloud_sdk import default_encoder, models

from control_plane.domain import deployment_settings as settings
from control_plane.domain import engine_events
from tests.support import cloud_schema

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SEALED = st.binary(min_size=48, max_size=60).map(
    lambda data: {"ciphertext": base64.b64encode(data).decode()}
)
KEPT = st.fixed_dictionaries(
    {},
    optional={
        "sourceContext": st.fixed_dictionaries(
            {
                "git": st.fixed_dictionaries(
                    {"repoUrl": st.just("https://git.invalid/a"), "branch": TEXTS},
                    optional={"gitAuth": st.fixed_dictionaries({"accessToken": SEALED})},
                )
            }
        ),
        "operationContext": st.fixed_dictionaries(
            {},
            optional={
                "preRunCommands": st.lists(TEXTS, max_size=2),
                "environmentVariables": st.dictionaries(
                    st.text("ABC_", min_size=1, max_size=4), TEXTS | SEALED, max_size=4
                ),
            },
        ),
        "executorContext": st.fixed_dictionaries(
            {
                "executorImage": st.fixed_dictionaries(
                    {"reference": st.just("pulumi/pulumi")},
                    optional={
                        "credentials": st.fixed_dictionaries(
                            {"username": TEXTS, "password": SEALED}
                        )
                    },
                )
            }
        ),
    },
)


@given(KEPT)
def test_settings_go_to_the_sdk_and_come_back_as_they_were(kept: dict[str, Any]) -> None:
    shown = settings.settings_by_schema(kept)
    assert list(cloud_schema.differences(shown, "DeploymentSettings")) == []
    assert settings.merge(None, shown) == kept
    decoded = default_encoder.deserialize(shown, "DeploymentSettings")
    sent = default_encoder.sanitize_for_serialization(decoded)
    again = settings.merge(None, {key: sent[key] for key in kept})
    assert _said(again) == _said(kept)


def _said(value: Any) -> Any:
    """Without what says nothing: null, false, and objects of only such."""
    if not isinstance(value, dict):
        return value
    said = {key: _said(each) for key, each in value.items()}
    return {key: each for key, each in said.items() if each not in (None, False)}


def test_a_request_of_the_sdk_says_nothing_by_null() -> None:
    stored = {
        "operationContext": {"preRunCommands": ["make"], "environmentVariables": {"A": "1"}},
        "cacheOptions": {"enable": True},
    }
    context = models.OperationContextRequest(
        environment_variables={"B": models.SecretValue(secret="", plaintext="2")}
    )
    request = models.DeploymentSettingsRequest(operation_context=context)
    sent = default_encoder.sanitize_for_serialization(request)
    assert sent["cacheOptions"] is None
    assert settings.merge(stored, sent) == {
        "operationContext": {
            "preRunCommands": ["make"],
            "environmentVariables": {"A": "1", "B": "2"},
        },
        "cacheOptions": {"enable": True},
    }


def test_a_null_that_somebody_wrote_removes() -> None:
    stored = {"operationContext": {"preRunCommands": ["make"]}, "cacheOptions": {"enable": True}}
    assert settings.merge(stored, {"cacheOptions": None, "sourceContext": None}) == {
        "operationContext": {"preRunCommands": ["make"]}
    }


def event(**payload: Any) -> bytes:
    return json.dumps({"sequence": 3, "timestamp": 1700000000, **payload}).encode()


def by_schema(body: bytes) -> dict[str, Any]:
    shown = json.loads(engine_events.by_schema(body))
    known = [] if shown.pop("sequence", None) is None else ["sequence"]
    assert known == ["sequence"]
    assert list(cloud_schema.differences(shown, "EngineEvent")) == []
    assert cloud_schema.undecodable(shown, "EngineEvent") is None
    return dict(shown)


def test_an_event_is_told_by_its_type() -> None:
    said = {"message": "hello", "color": "raw"}
    shown = by_schema(event(cancelEvent=None, stdoutEvent=said))
    assert shown == {"type": "stdoutEvent", "timestamp": 1700000000, "stdoutEvent": said}


def test_a_state_that_is_not_there_is_an_empty_one() -> None:
    new = {"type": "t", "urn": "u", "id": "", "parent": "", "inputs": None, "provider": ""}
    metadata = {"op": "create", "urn": "u", "type": "t", "old": None, "new": new}
    shown = by_schema(event(resourcePreEvent={"metadata": {**metadata, "provider": ""}}))
    told = shown["resourcePreEvent"]["metadata"]
    assert told["old"] == dict.fromkeys(["type", "urn", "id", "parent", "provider"], "") | {
        "inputs": {},
        "outputs": {},
    }
    assert told["new"] == new | {"inputs": {}, "outputs": {}}
    assert told["detailedDiff"] == {}


def test_an_event_of_no_known_kind_stays_as_it_is() -> None:
    body = event(laterEvent={"a": 1})
    assert engine_events.by_schema(body) == body
