"""Admission: the rules, from facts alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain import admission
from control_plane.domain.admission import Admit, Facts, Limits, Refuse
from control_plane.domain.principal import Pool
from control_plane.errors import BadRequest, PoolOffline, QueueFull

KEY = b"k" * 32
LIMITS = Limits(queued_max=10, environment_variables_max=2, local_sources=False)
HOSTED = Pool(id="hosted", name="default", public_key=KEY)
OWN = Pool(id="own", name="own", organization_id="o", public_key=KEY)
THEIRS = Pool(id="theirs", name="theirs", organization_id="x", public_key=KEY)
SILENT = Pool(id="silent", name="silent", organization_id="o")


def facts(*pools: tuple[Pool, bool], queued: int = 0) -> Facts:
    return admission.facts_of("o", "acme", queued, pools or ((HOSTED, True),))


def source(url: str = "https://git.test/r", **git: Any) -> dict[str, Any]:
    return {"sourceContext": {"git": {"repoUrl": url} | git}}


def refusal(settings: dict[str, Any], *, given_: Facts | None = None, **limits: Any) -> Any:
    verdict = admission.decide(
        settings, None, given_ or facts(), Limits(**(_fields(LIMITS) | limits))
    )
    assert isinstance(verdict, Refuse)
    return verdict.problem


def _fields(limits: Limits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in limits.__struct_fields__}


def test_what_is_right_is_admitted_to_the_default_pool() -> None:
    assert admission.decide(source(), None, facts(), LIMITS) == Admit(HOSTED)


def test_the_queue_has_a_limit() -> None:
    problem = refusal(source(), given_=facts(queued=10))
    assert isinstance(problem, QueueFull)
    assert isinstance(admission.decide(source(), None, facts(queued=9), LIMITS), Admit)


def test_there_may_be_so_many_variables() -> None:
    variables = {"environmentVariables": {"A": "1", "B": "2", "C": "3"}}
    problem = refusal(source() | {"operationContext": variables})
    assert "3 entries" in problem.message


def test_which_pool() -> None:
    every = ((HOSTED, True), (OWN, True), (THEIRS, True))
    assert admission.find_pool(None, facts(*every)) == OWN
    assert admission.find_pool("", facts(*every)) == OWN
    assert admission.find_pool("hosted", facts(*every)) == HOSTED
    assert admission.find_pool("theirs", facts(*every)) is None
    assert admission.find_pool(None, facts((HOSTED, True), (OWN, False))) == HOSTED
    assert admission.find_pool(None, facts((OWN, False))) is None


def test_without_any_default_pool_nobody_is_told_of_a_pool_none() -> None:
    for settings in (source(), source() | {"agentPoolID": None}, source() | {"agentPoolID": ""}):
        problem = refusal(settings, given_=facts((OWN, False)))
        assert isinstance(problem, PoolOffline)
        assert "no runner pool that is the default" in problem.message


def test_a_pool_without_a_key_is_offline() -> None:
    problem = refusal(source() | {"agentPoolID": "silent"}, given_=facts((SILENT, False)))
    assert isinstance(problem, PoolOffline)
    assert "'silent'" in problem.message


def test_options_of_git_are_no_names() -> None:
    for key in ("branch", "commit", "tag"):
        assert f"git.{key}" in refusal(source(**{key: "--upload-pack=x"})).message


@given(st.text(max_size=60))
def test_no_text_becomes_a_command_or_an_option(url: str) -> None:
    verdict = admission.decide(source(url), None, facts(), LIMITS)
    if isinstance(verdict, Refuse):
        assert isinstance(verdict.problem, BadRequest)
        return
    assert not url.startswith(("-", "/", ".", "file:"))
    assert "::" not in url.split("/")[0] or "@" in url


@given(st.sampled_from(["ext", "fd", "file", "gopher", "git+ssh"]), st.text(min_size=1))
def test_no_other_transport(scheme: str, rest: str) -> None:
    for url in (f"{scheme}::{rest}", f"{scheme}://host/{rest}"):
        assert isinstance(admission.decide(source(url), None, facts(), LIMITS), Refuse)


def test_local_paths_are_for_servers_that_say_so() -> None:
    local = Limits(**(_fields(LIMITS) | {"local_sources": True}))
    for url in ("/srv/repo", "file:///srv/repo"):
        assert isinstance(admission.decide(source(url), None, facts(), local), Admit)
        assert "local path" in refusal(source(url)).message


def test_no_credentials_in_an_address_and_none_in_an_error() -> None:
    for url in (
        "https://user:hunter2@git.test/r",
        "https://hunter2@git.test/r",
        "ssh://git:hunter2@git.test/r",
        "git:hunter2@git.test:r",
    ):
        problem = refusal(source(url))
        assert "gitAuth" in problem.message
        assert "hunter2" not in problem.message
    for url in ("hunter2/x@git.test", "/srv/hunter2@x"):
        assert "hunter2" not in refusal(source(url)).message
    assert isinstance(
        admission.decide(source("ssh://git@git.test/r"), None, facts(), LIMITS), Admit
    )
