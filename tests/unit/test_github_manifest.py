"""The App asks for what is used, and for nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.github import events, manifest, payloads

NEEDED_BY = {
    "push": "contents",
    "pull_request": "pull_requests",
    "issue_comment": "issues",
    "repository": "metadata",
}
"""Which permission covers an event, by GitHub's documentation of each."""


def test_every_event_is_covered_by_a_permission_and_read() -> None:
    granted = {each.name for each in manifest.PERMISSIONS}
    for subscription in manifest.EVENTS:
        assert NEEDED_BY[subscription.name] in granted
    for subscription in (*manifest.EVENTS, *manifest.SENT_ANYWAY):
        with pytest.raises(payloads.BadPayload):
            payloads.parse(subscription.name, b"[]")
    assert isinstance(payloads.parse("star", b"[]"), events.Ignored)


def test_every_permission_and_event_has_one_sentence_why() -> None:
    for each in (*manifest.PERMISSIONS, *manifest.EVENTS, *manifest.SENT_ANYWAY):
        assert each.why.endswith(".")
    names = [each.name for each in manifest.PERMISSIONS]
    assert len(names) == len(set(names))


def test_the_code_is_only_read() -> None:
    access = manifest.manifest("https://x.test", "Slipway")["default_permissions"]
    assert access["contents"] == "read"
    assert "administration" not in access


@pytest.mark.parametrize("url", ["https://slipway.test", "https://slipway.test/"])
def test_addresses_are_this_servers(url: str) -> None:
    made = manifest.manifest(url, "Slipway of acme")
    assert made["hook_attributes"] == {
        "url": "https://slipway.test/webhooks/github",
        "active": True,
    }
    assert made["redirect_url"] == "https://slipway.test/settings/integrations/github/created"
    assert made["setup_url"] == "https://slipway.test/settings/integrations/github/installed"
    # Who claims an installation signs in on the way back from it.
    assert made["callback_urls"] == [
        "https://slipway.test/sign-in/github/callback",
        "https://slipway.test/settings/integrations/github/installed",
    ]
    assert len(manifest.manifest(url, "x" * 99)["name"]) == manifest.NAME_CHARACTERS_MAX


@given(
    st.dictionaries(
        st.sampled_from([each.name for each in manifest.PERMISSIONS] + ["other"]),
        st.sampled_from(["read", "write", "admin", "unknown", ""]),
    )
)
def test_what_is_missing_is_what_has_to_be_added(granted: dict[str, str]) -> None:
    missing = manifest.missing_permissions(granted)
    assert not manifest.missing_permissions(granted | missing)
    for name, access in missing.items():
        assert granted.get(name) not in (access, "admin")
    assert not manifest.missing_permissions(
        manifest.manifest("https://x.test", "x")["default_permissions"]
    )


def test_an_older_app_lacks_events() -> None:
    assert manifest.missing_events(["push"]) == ["pull_request", "issue_comment", "repository"]
