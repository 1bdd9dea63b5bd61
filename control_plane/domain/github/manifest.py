"""The GitHub App: exactly the permissions and events that Slipway uses, each with its reason.

Sources: "Registering a GitHub App from a manifest", "Permissions required for GitHub Apps", and
"Webhook events and payloads" in GitHub's documentation. GitHub refuses a manifest with an event
that none of its permissions covers, or with one that every App is sent anyway.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

NAME_CHARACTERS_MAX = 34
"""The most that GitHub takes for the name of an App."""
_LEVELS = {"": 0, "read": 1, "write": 2, "admin": 3}


class Permission(NamedTuple):
    """A permission, under the name that GitHub's API has for it."""

    name: str
    access: str
    """`read` or `write`."""
    why: str


class Subscription(NamedTuple):
    """An event that the App is sent."""

    name: str
    why: str


PERMISSIONS = (
    Permission(
        "contents",
        "read",
        "To clone the program that is deployed, and to see which files a push changed.",
    ),
    Permission(
        "metadata",
        "read",
        "GitHub gives every App this: names, branches and who may push, for the pickers.",
    ),
    Permission(
        "pull_requests",
        "write",
        "To be told of pull requests, and to keep one comment per stack on each.",
    ),
    Permission(
        "issues",
        "read",
        "To be told of comments: '/slipway approve' lets a fork's commit be previewed.",
    ),
    Permission(
        "checks",
        "write",
        "To show each deployment as a check that branch protection can require.",
    ),
    Permission(
        "statuses",
        "write",
        "To set the status of a pushed commit while it is deployed, and after.",
    ),
    Permission(
        "deployments",
        "write",
        "To list a stack as an environment of the repository, with what is deployed there.",
    ),
    Permission(
        "members",
        "read",
        "To let only an owner of a GitHub organization connect it to an organization here.",
    ),
)

EVENTS = (
    Subscription("push", "A branch or tag moved: stacks that follow it are updated."),
    Subscription(
        "pull_request",
        "A pull request was opened, changed or closed: it is previewed; its review stack lives by"
        " it.",
    ),
    Subscription("issue_comment", "A comment may approve a fork's commit."),
    Subscription(
        "repository", "A repository was renamed, moved, archived or deleted: settings follow."
    ),
)

SENT_ANYWAY = (
    Subscription("installation", "The App was installed, uninstalled, suspended or allowed more."),
    Subscription("installation_repositories", "The App may use other repositories than before."),
    Subscription("github_app_authorization", "Somebody took back their sign-in with GitHub."),
    Subscription("check_run", "Somebody wants a check again."),
    Subscription("check_suite", "Somebody wants all checks of a commit again."),
)
"""What an App with these permissions is sent without asking for it."""

WEBHOOK_PATH = "/webhooks/github"
CREATED_PATH = "/settings/integrations/github/created"
INSTALLED_PATH = "/settings/integrations/github/installed"
SIGNED_IN_PATH = "/sign-in/github/callback"


def manifest(public_url: str, name: str, *, several_accounts: bool = True) -> dict[str, Any]:
    """What GitHub makes the App from, for a server at this address.

    `several_accounts`: whether others than the App's owner may install it. An installation alone
    gets nobody anything here: it must be claimed.
    """
    base = public_url.rstrip("/")
    return {
        "name": name[:NAME_CHARACTERS_MAX].strip(),
        "url": base,
        "description": "Deploys Pulumi programs on git push, and previews pull requests.",
        "public": several_accounts,
        "hook_attributes": {"url": base + WEBHOOK_PATH, "active": True},
        "redirect_url": base + CREATED_PATH,
        "setup_url": base + INSTALLED_PATH,
        "setup_on_update": True,
        "callback_urls": [base + SIGNED_IN_PATH, base + INSTALLED_PATH],
        "request_oauth_on_install": False,
        "default_permissions": {each.name: each.access for each in PERMISSIONS},
        "default_events": [each.name for each in EVENTS],
    }


def missing_permissions(granted: Mapping[str, str]) -> dict[str, str]:
    """What an installation has not been granted yet, with the access that is needed."""
    return {
        each.name: each.access
        for each in PERMISSIONS
        if _LEVELS.get(granted.get(each.name, ""), 0) < _LEVELS[each.access]
    }


def missing_events(subscribed: Collection[str]) -> list[str]:
    """What an App is not subscribed to, as when an older version of Slipway made it."""
    return [each.name for each in EVENTS if each.name not in subscribed]
