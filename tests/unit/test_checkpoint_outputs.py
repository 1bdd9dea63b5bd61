"""Outputs read from a state document, whatever else is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain import checkpoint

ROOT = {"urn": "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev", "type": "pulumi:pulumi:Stack"}
OTHER = {"urn": "urn:pulumi:dev::shop::a:b:C::c", "type": "a:b:C", "outputs": {"not": "these"}}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def outputs(deployment: Any) -> tuple[Any, Any]:
    document = json.dumps({"version": 3, "deployment": deployment}).encode()
    values, provider = checkpoint.outputs(document)
    return json.loads(bytes(values)), None if provider is None else json.loads(bytes(provider))


@given(
    values=st.dictionaries(st.text(), VALUES, max_size=5),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
)
def test_they_are_those_of_the_root_as_they_stand(
    values: dict[str, Any], before: int, after: int
) -> None:
    resources = [OTHER] * before + [{**ROOT, "outputs": values}] + [OTHER] * after
    assert outputs({"resources": resources}) == (values, None)


@pytest.mark.parametrize(
    "deployment",
    [
        None,
        {},
        {"resources": None},
        {"resources": []},
        {"resources": [OTHER]},
        {"resources": [ROOT]},
        {"resources": [{**ROOT, "outputs": None}]},
    ],
)
def test_without_any_there_are_none(deployment: Any) -> None:
    assert outputs(deployment) == ({}, None)


def test_the_provider_is_told_when_there_is_one() -> None:
    provider = {"type": "passphrase", "state": {"salt": "v1:x"}}
    assert outputs({"resources": [ROOT], "secrets_providers": provider}) == ({}, provider)
    assert outputs({"secrets_providers": None}) == ({}, None)
