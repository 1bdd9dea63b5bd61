"""The stand-in's pages for a browser: create an App, install it, sign in through it.

They have GitHub's addresses and parameters, and one button each where GitHub has one:
https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest and
https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
"""

from __future__ import annotations

import html
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.github.models import model
from tests.support.github.state import Account, App, Installation, Repository, State, key_pair
from tests.support.github.webhooks import Webhooks

MANIFEST_KEYS = {
    "name", "url", "hook_attributes", "redirect_url", "callback_urls", "setup_url", "description",
    "public", "default_events", "default_permissions", "request_oauth_on_install",
    "setup_on_update",
}  # fmt: skip
EVENTS = {
    "push": "contents",
    "create": "contents",
    "delete": "contents",
    "pull_request": "pull_requests",
    "issue_comment": "pull_requests",
    "check_run": "checks",
    "check_suite": "checks",
    "deployment": "deployments",
    "deployment_status": "deployments",
    "status": "statuses",
    "repository": "metadata",
    "member": "members",
    "membership": "members",
    "organization": "members",
}
"""Events and the permission without which GitHub does not let an App ask for each."""


@dataclass
class Page:
    status: int
    body: str = ""
    location: str = ""
    content_type: str = "text/html; charset=utf-8"


def refused(text: str, status: int = 422) -> Page:
    return Page(status, f"<h1>{html.escape(text)}</h1>")


class Pages:
    """Answers what a browser asks, as the person who is signed in."""

    def __init__(self, state: State, webhooks: Webhooks) -> None:
        self._state = state
        self._webhooks = webhooks

    def answer(
        self, method: str, target: str, form: dict[str, list[str]], body: Any
    ) -> Page | None:
        """None when no page has this address."""
        address = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        fields = {name: values[0] for name, values in form.items()}
        if method == "POST" and address.path == "/login/oauth/access_token":
            return self._access_token(body or fields)
        who = self._state.signed_in
        if match := re.fullmatch(r"(?:/organizations/([^/]+))?/settings/apps/new", address.path):
            owner = self._state.accounts.get(match[1]) if match[1] else who
            if who is None or owner is None:
                return refused("Sign in to GitHub", 401)
            if owner is not who and owner.members.get(who.login) != "admin":
                return refused("Not Found", 404)
            return self._new_app(method, owner, query, fields)
        if match := re.fullmatch(r"/(?:github-)?apps/([^/]+)/installations/new", address.path):
            app = next((each for each in self._state.apps.values() if each.slug == match[1]), None)
            if app is None or who is None:
                return refused("Not Found", 404)
            return self._install(method, app, who, query, form)
        if address.path == "/login/oauth/authorize":
            return self._authorize(method, who, query)
        return None

    # A new App.

    def _new_app(
        self, method: str, owner: Account, query: dict[str, str], fields: dict[str, str]
    ) -> Page:
        if method != "POST" or "manifest" not in fields:
            return refused("Register new GitHub App: post a manifest", 200)
        if problem := manifest_problem(fields["manifest"]):
            self._state.problems.append(f"the manifest: {problem}")
            return refused(problem)
        manifest = json.loads(fields["manifest"])
        if "confirmed" not in fields:
            kept = html.escape(fields["manifest"], quote=True)
            return Page(
                200,
                f"<h1>Create GitHub App for {html.escape(owner.login)}</h1><form method='post'>"
                f"<input type='hidden' name='manifest' value=\"{kept}\">"
                f"<input name='name' aria-label='GitHub App name' "
                f'value="{html.escape(manifest.get("name", ""), quote=True)}">'
                "<button name='confirmed' value='1'>Create GitHub App</button></form>",
            )
        name = fields.get("name") or manifest.get("name", "")
        app = self.make_app(owner, manifest | {"name": name})
        code = secrets.token_hex(20)
        self._state.manifest_codes[code] = app
        return _redirect(manifest["redirect_url"], code=code, state=query.get("state", ""))

    def make_app(self, owner: Account, manifest: dict[str, Any]) -> App:
        """The App of a manifest."""
        state = self._state
        private, public = key_pair(len(state.apps))
        permissions = {"metadata": "read", **manifest.get("default_permissions", {})}
        app = App(
            id=state.next_id(),
            slug=re.sub(r"[^a-z0-9]+", "-", manifest["name"].lower()).strip("-"),
            name=manifest["name"],
            owner=owner,
            url=manifest["url"],
            webhook_url=manifest["hook_attributes"]["url"],
            callback_urls=manifest.get("callback_urls", []),
            setup_url=manifest.get("setup_url", ""),
            redirect_url=manifest.get("redirect_url", ""),
            permissions=permissions,
            events=manifest.get("default_events", []),
            oauth_on_install=manifest.get("request_oauth_on_install", False),
            client_id=f"Iv23{secrets.token_hex(8)}",
            client_secret=secrets.token_hex(20),
            webhook_secret=secrets.token_hex(20),
            private_key=private,
            public_key=public,
        )
        state.apps[app.id] = app
        return app

    # An installation.

    def _install(
        self,
        method: str,
        app: App,
        who: Account,
        query: dict[str, str],
        form: dict[str, list[str]],
    ) -> Page:
        everywhere = list(self._state.accounts.values())
        mine = [who, *(each for each in everywhere if who.login in each.members)]
        if method != "POST":
            return Page(200, _install_form(self._state, app, mine))
        account = next((each for each in mine if each.login == form["account"][0]), None)
        if account is None:
            return refused("Not Found", 404)
        if account is not who and account.members[who.login] != "admin":
            # A member can only ask; the organization's owners get a mail.
            return _redirect(app.setup_url or app.url, setup_action="request", **query)
        chosen = None
        if form.get("selection", ["all"])[0] == "selected":
            chosen = {int(each) for each in form.get("repository", [])}
        there = next((each for each in self._at(app) if each.account is account), None)
        if there is None:
            there = self.install(app, account, chosen, who)
            return self._back(app, there, "install", who, query)
        self._choose(there, chosen, who)
        return self._back(app, there, "update", who, query)

    def _at(self, app: App) -> list[Installation]:
        return [each for each in self._state.installations.values() if each.app is app]

    def install(
        self, app: App, account: Account, chosen: set[int] | None, who: Account
    ) -> Installation:
        """Install an App, and tell it."""
        made = Installation(
            self._state.next_id(), app, account, dict(app.permissions), list(app.events), chosen
        )
        self._state.installations[made.id] = made
        self._webhooks.installation(made, "created", who)
        return made

    def _choose(self, it: Installation, chosen: set[int] | None, who: Account) -> None:
        before = self._state.reached(it)
        it.repository_ids = chosen
        after = self._state.reached(it)
        added = [each for each in after if each not in before]
        removed = [each for each in before if each not in after]
        for more, less in ((added, []), ([], removed)):
            if more or less:
                self._webhooks.installation_repositories(it, more, less, who)

    def _back(
        self, app: App, it: Installation, action: str, who: Account, query: dict[str, str]
    ) -> Page:
        """Where GitHub sends the browser after an installation."""
        told = {"installation_id": str(it.id), "setup_action": action}
        if "state" in query:
            told["state"] = query["state"]
        if app.oauth_on_install:
            return _redirect(app.callback_urls[0], code=self._code(app, who), **told)
        return _redirect(app.setup_url or app.url, **told)

    # Signing in.

    def _authorize(self, method: str, who: Account | None, query: dict[str, str]) -> Page:
        app = next(
            (
                each
                for each in self._state.apps.values()
                if each.client_id == query.get("client_id")
            ),
            None,
        )
        if app is None or who is None:
            return refused("Not Found", 404)
        target = query.get("redirect_uri") or app.callback_urls[0]
        if not any(target == each for each in app.callback_urls):
            self._state.problems.append(f"redirect_uri {target} is none of the App's callbacks")
            return refused("The redirect_uri is not associated with this application")
        if method != "POST" and (app.id, who.login) not in self._state.authorized:
            return Page(
                200,
                f"<h1>Authorize {html.escape(app.name)}</h1><form method='post'>"
                f"<button>Authorize {html.escape(app.name)}</button></form>",
            )
        self._state.authorized.add((app.id, who.login))
        return _redirect(target, code=self._code(app, who), state=query.get("state", ""))

    def _code(self, app: App, who: Account) -> str:
        code = secrets.token_hex(10)
        self._state.codes[code] = (app, who)
        return code

    def _access_token(self, fields: dict[str, str]) -> Page:
        """A code is good once; GitHub answers 200 to a wrong one, with the error inside."""
        app, who = self._state.codes.pop(fields.get("code", ""), (None, None))
        if app is None or who is None:
            return _json(
                error="bad_verification_code",
                error_description="The code passed is incorrect or expired.",
            )
        if (fields.get("client_id"), fields.get("client_secret")) != (
            app.client_id,
            app.client_secret,
        ):
            return _json(
                error="incorrect_client_credentials",
                error_description="The client_id and/or client_secret passed are incorrect.",
            )
        token = f"ghu_{secrets.token_hex(18)}"
        self._state.user_tokens[token] = (app, who)
        return _json(
            access_token=token,
            expires_in=28800,
            refresh_token=f"ghr_{secrets.token_hex(36)}",
            refresh_token_expires_in=15897600,
            scope="",
            token_type="bearer",
        )


def manifest_problem(text: str) -> str:
    """What GitHub would not accept in a manifest."""
    try:
        manifest = json.loads(text)
    except ValueError:
        return "Invalid GitHub App configuration: the manifest is no JSON"
    if more := set(manifest) - MANIFEST_KEYS:
        return f"unknown keys {sorted(more)}"
    if missing := {"url", "hook_attributes", "redirect_url"} - set(manifest):
        return f"missing {sorted(missing)}"
    permissions = manifest.get("default_permissions", {})
    known = set(model("AppPermissions").model_fields)
    if more := set(permissions) - known:
        return f"unknown permissions {sorted(more)}"
    for event in manifest.get("default_events", []):
        if event not in EVENTS:
            return f"unknown event {event}"
        if EVENTS[event] not in {"metadata", *permissions}:
            return f"the event {event} needs the permission {EVENTS[event]}"
    return ""


def _install_form(state: State, app: App, mine: list[Account]) -> str:
    def choices(kind: str, name: str, items: list[tuple[object, str]]) -> str:
        return "".join(
            f"<label><input type='{kind}' name='{name}' value='{value}'>{html.escape(text)}</label>"
            for value, text in items
        )

    owned: list[Repository] = [each for each in state.repositories if each.owner in mine]
    accounts = choices("radio", "account", [(each.login, each.login) for each in mine])
    selections = choices(
        "radio", "selection", [("all", "All repositories"), ("selected", "Only select")]
    )
    repositories = choices("checkbox", "repository", [(each.id, each.full_name) for each in owned])
    return (
        f"<h1>Install {html.escape(app.name)}</h1><form method='post'>"
        f"{accounts}{selections}{repositories}<button>Install</button></form>"
    )


def _redirect(target: str, **query: str) -> Page:
    more = urlencode({name: value for name, value in query.items() if value})
    return Page(302, location=f"{target}{'&' if '?' in target else '?'}{more}")


def _json(**fields: Any) -> Page:
    return Page(200, json.dumps(fields), content_type="application/json")
