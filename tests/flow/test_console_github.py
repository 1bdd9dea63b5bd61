"""Attacks on what leads to GitHub and back: the signed state, codes, claims, the way to sign in."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from control_plane.services import identity
from control_plane.services.github import installing, signing_in, states
from control_plane.services.github.app import CREATE
from control_plane.services.github.states import LIFETIME_MS, State
from tests.support.app import ADMIN, TOKEN
from tests.support.github_console import CALLBACK, INSTALLED, Reachable, reachable
from tests.support.github_org import with_services

CREATED = "/settings/integrations/github/created"
LINKED = "/-/github/linked"
PURPOSES = {CREATED: CREATE, INSTALLED: installing.INSTALL, LINKED: signing_in.LINK}
"""What comes back to each address; each changes something by GET, guarded by its state."""
INTEGRATIONS = f"/{ADMIN}/-/settings/integrations"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Reachable]:
    with reachable(tmp_path) as made:
        yield made


def user_id(place: Reachable, token: str) -> str:
    config = place.server.world.config
    return str(with_services(config, lambda world: identity.authenticate(world, token)).user.id)


def post(http: httpx.Client, address: str, **fields: str) -> httpx.Response:
    """Send a form of the session's own."""
    found = re.search(r'name="form_token" value="([^"]+)"', http.get("/-/tokens").text)
    assert found is not None
    return http.post(address, data={"form_token": found[1]} | fields)


def authorized(place: Reachable, address: str) -> str:
    """What GitHub answers to a person who says yes: an address here, as a path with its query."""
    assert address.startswith(place.hub.url), address
    back = httpx.post(address).headers["location"]
    assert back.startswith(place.server.url)
    return str(back.removeprefix(place.server.url))


def asked_for(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def link(
    place: Reachable, who: httpx.Client, back_to: httpx.Client | None = None
) -> httpx.Response:
    """Link the account of who sits at the browser; `back_to`: the session that comes back."""
    way = asked_for(post(who, "/-/github/link"))
    visitor = back_to or who
    onward = asked_for(visitor.get(authorized(place, way)))
    assert onward.startswith(LINKED)
    return visitor.get(onward)


def is_claimed(http: httpx.Client) -> bool:
    return "Choose repositories on GitHub" in http.get(INTEGRATIONS).text


def is_linked(http: httpx.Client) -> bool:
    return "Linked to" in http.get("/-/tokens").text


def test_no_way_back_is_taken_that_was_not_this_persons(place: Reachable) -> None:
    """Another user's state, of another purpose, too old, broken, or none; then the right one."""
    world = place.server.world
    eve = user_id(place, place.add_user("eve"))
    own = user_id(place, TOKEN)
    before = dataclasses.replace(world, now=lambda: world.now() - LIFETIME_MS - 1000)

    def written(purpose: str, who: str, **more: str) -> str:
        return states.write(world, State(purpose=purpose, user_id=who, organization=ADMIN, **more))

    place.hub.install(place.keep_app(), place.account)
    with place.browser(TOKEN) as http:
        for address, purpose in PURPOSES.items():
            right = written(purpose, own)
            old = states.write(before, State(purpose=purpose, user_id=own, organization=ADMIN))
            others = [written(each, own) for each in PURPOSES.values() if each != purpose]
            broken = [right[:-4], right[2:], f"x{right}", "é.é", ".", right.replace(".", "")]
            none = [] if address == INSTALLED else [""]
            for wrong in (
                written(purpose, eve),
                written(purpose, ""),
                old,
                *others,
                *broken,
                *none,
            ):
                code = authorized_code(place, address)
                answer = http.get(address, params={"code": code, "state": wrong})
                assert answer.status_code == 403, (address, wrong, answer.text)
                assert "Begin again" in answer.text
        asked = http.get(INSTALLED, params={"code": "x", "installation_id": "1"})
        assert asked.status_code == 200, "without a state it only asks for whom it is"
        assert not is_claimed(http)
        assert not is_linked(http)
        for address in (INSTALLED, LINKED):
            given = {
                "code": authorized_code(place, address),
                "state": written(PURPOSES[address], own),
            }
            assert http.get(address, params=given).status_code == 303
            again = http.get(address, params=given)
            assert again.status_code == 403, "a code is good once"
            assert "does not know this code any more" in again.text
        assert is_claimed(http)
        assert is_linked(http)


def authorized_code(place: Reachable, address: str) -> str:
    """A code of the person at the browser, as GitHub hands it out for that address."""
    (app,) = place.hub.state.apps.values()
    callback = place.server.url + (INSTALLED if address == INSTALLED else CALLBACK)
    query = {"client_id": app.client_id, "redirect_uri": callback, "state": "s"}
    back = httpx.post(f"{place.hub.url}/login/oauth/authorize", params=query).headers["location"]
    return parse_qs(urlsplit(back).query)["code"][0]


def test_only_who_controls_an_installation_claims_it(place: Reachable) -> None:
    installation = place.hub.install(place.keep_app(), place.account)
    member = place.hub.add_user("octo-member")
    place.account.members["octo-member"] = "member"
    outsider = place.hub.add_user("octo-outsider")
    place.add_user("grace", **{ADMIN: "member"})
    mallory = place.add_user("mallory")
    with place.browser(TOKEN) as ada, place.browser(mallory) as http:
        for who in (member, outsider):
            place.hub.sign_in(who)
            way = asked_for(
                post(
                    http,
                    "/mallory/-/settings/integrations/github/claim",
                    installation_id=str(installation.id),
                )
            )
            refused = http.get(authorized(place, way))
            assert refused.status_code == 403
            assert "does not show you as an owner" in refused.text
            way = asked_for(post(http, "/mallory/-/settings/integrations/github/claim"))
            answer = http.get(authorized(place, way))
            assert answer.headers["location"].endswith("claimed=none")
        place.hub.sign_in(place.owner)
        way = asked_for(post(ada, f"{INTEGRATIONS}/github/claim"))
        assert ada.get(authorized(place, way)).headers["location"].endswith("claimed=acme")
        way = asked_for(
            post(
                http,
                "/mallory/-/settings/integrations/github/claim",
                installation_id=str(installation.id),
            )
        )
        taken = http.get(authorized(place, way))
        assert taken.status_code == 409
        assert "belongs to another organization" in taken.text
        path = f"/mallory/-/settings/integrations/github/{installation.id}"
        assert http.get(f"{path}/uninstall").status_code == 404
        assert post(http, f"{path}/uninstall").status_code == 404
        assert post(http, f"{path}/comments").status_code == 404
        beyond = f"{INTEGRATIONS}/github/{10**30}"
        assert ada.get(f"{beyond}/uninstall").status_code == 404
        assert post(ada, f"{beyond}/uninstall").status_code == 404
        assert is_claimed(ada)


def test_who_comes_from_github_without_our_state_says_for_whom_it_is(place: Reachable) -> None:
    """Installed from GitHub's own pages; asked for by a member; changed later."""
    app = place.keep_app()
    page = f"{place.hub.url}/github-apps/{app.slug}/installations/new"
    chosen = {"account": "acme", "selection": "all"}

    def back() -> str:
        address = httpx.post(page, data=chosen).headers["location"]
        return str(address.removeprefix(place.server.url))

    grace = place.add_user("grace", **{ADMIN: "member"})
    with place.browser(TOKEN) as ada, place.browser(grace) as http:
        member = place.hub.add_user("octo-member")
        place.account.members["octo-member"] = "member"
        place.hub.sign_in(member)
        assert "You asked an owner" in ada.get(back()).text
        place.hub.sign_in(place.owner)
        came = back()
        offered = ada.get(came)
        assert f"Claim it for {ADMIN}" in offered.text
        assert "Claim it for grace" in http.get(came).text
        assert f"Claim it for {ADMIN}" not in http.get(came).text
        number = parse_qs(urlsplit(came).query)["installation_id"][0]
        way = asked_for(post(ada, f"{INTEGRATIONS}/github/claim", installation_id=number))
        done = ada.get(authorized(place, way)).headers["location"]
        assert "The installation on acme belongs to ada now" in ada.get(done).text
        assert ada.get(back()).headers["location"] == INTEGRATIONS, "it is known whose it is"
        assert http.get(back()).headers["location"] == INTEGRATIONS
        said = ada.get(INTEGRATIONS, params={"claimed": "your-bank"}).text
        assert "your-bank" not in said, "an address says nothing in this server's name"
        stranger = place.add_user("stranger")
        with place.browser(stranger) as other:
            assert "Claim it for stranger" in other.get(back()).text


def test_members_install_claim_and_uninstall_nothing(place: Reachable) -> None:
    installation = place.hub.install(place.keep_app(), place.account)
    grace = place.add_user("grace", **{ADMIN: "member"})
    with place.browser(grace) as http:
        for path in ("install", "claim", f"{installation.id}/uninstall"):
            assert post(http, f"{INTEGRATIONS}/github/{path}").status_code == 403, path
        state = State(purpose=installing.INSTALL, user_id=user_id(place, grace), organization=ADMIN)
        given = {"code": "c", "state": states.write(place.server.world, state)}
        assert http.get(INSTALLED, params=given).status_code == 403, "not an administrator any more"
        assert http.get("/settings/integrations/github/new").status_code == 403
        for wrong in ("x", "-1", "1" * 40, "²"):
            assert post(
                http, f"{INTEGRATIONS}/github/claim", installation_id=wrong
            ).status_code in (400, 403)


def test_signing_in_with_github_is_by_the_same_browser_and_for_the_linked(
    place: Reachable,
) -> None:
    """Login CSRF, a stranger's account, a code used twice, an address that leads elsewhere."""
    place.keep_app()
    with place.browser(TOKEN) as ada, place.browser() as http, place.browser() as victim:
        assert "Sign in with GitHub" in http.get("/sign-in").text
        stranger = http.get(authorized(place, asked_for(http.get("/sign-in/github"))))
        assert stranger.status_code == 403
        assert "Nobody here is linked" in stranger.text
        assert "slipway_session" not in http.cookies
        assert link(place, ada).headers["location"] == "/-/tokens"

        way = asked_for(http.get("/sign-in/github", params={"next": "/ada?q=x"}))
        back = authorized(place, way)
        without = victim.get(back)
        assert "set-cookie" not in without.headers
        after = victim.get(without.headers["location"])
        assert after.headers["location"].startswith("/sign-in?next="), "signed in as nobody"
        victim.get("/sign-in/github")
        other = victim.get(back)
        assert other.status_code == 403
        assert "another browser" in other.text
        assert "slipway_session" not in victim.cookies
        answer = http.get(back)
        assert answer.headers["location"] == "/ada?q=x"
        assert http.get("/ada").status_code == 200
        assert http.get(back).status_code in (303, 403), "neither cookie nor code is good twice"

        for elsewhere in ("//evil.test", "https://evil.test/", "/\\evil.test"):
            with place.browser() as lured:
                way = asked_for(lured.get("/sign-in/github", params={"next": elsewhere}))
                assert lured.get(authorized(place, way)).headers["location"] == "/"


def test_an_account_on_github_is_one_persons(place: Reachable) -> None:
    place.keep_app()
    grace = place.add_user("grace")
    with place.browser(TOKEN) as ada, place.browser(grace) as http:
        assert link(place, ada).status_code == 303
        assert link(place, http).status_code == 409
        stolen = link(place, ada, back_to=http)
        assert stolen.status_code == 403, "ada's way back, in grace's session"
        assert not is_linked(http)
        assert asked_for(post(ada, "/-/github/unlink")) == "/-/tokens"
        assert not is_linked(ada)
