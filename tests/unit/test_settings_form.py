"""Deployment settings as a form: sent back untouched it changes nothing; no secret is in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.deployment_settings import merge, settings_for_answer
from control_plane.domain.settings_schema import SETTINGS, Fields, Flag, Number, Rule, Secret, Texts
from control_plane.domain.settings_schema import Variables as VariablesRule
from control_plane.errors import BadRequest
from ui.settings_fields import FIELDS, VARIABLES
from ui.settings_form import Variable, patch_of, values_of, variables_of, wrong_field

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]))
words = texts.filter(bool)
ADDRESSES = (
    "sourceContext.git.repoUrl",
    "sourceContext.hg.repoUrl",
    "sourceContext.template.sourceUrl",
    "sourceContext.template.projectSourceUrl",
)
CIPHERTEXT = {"ciphertext": "A" * 64}


@st.composite
def stored_settings(draw: st.DrawFn) -> dict[str, Any]:
    """Settings as the server keeps them."""
    patch: dict[str, Any] = {}
    # An address of another server would leave the credentials behind; an image alone is a text.
    alone = ("executorContext.executorImage.reference", *ADDRESSES)
    possible = [field for field in FIELDS if field.path not in alone]
    for field in draw(st.lists(st.sampled_from(possible), max_size=12, unique=True)):
        value: Any = {
            "text": words,
            "flag": st.just(True),
            "number": st.integers(0, 10**9),
            "lines": st.lists(words, min_size=1, max_size=3),
            "secret": st.just(CIPHERTEXT),
        }[field.kind]
        _put(patch, field.path, draw(value))
    variables = st.dictionaries(
        words.filter(lambda name: "=" not in name and len(name) < 100),
        texts | st.just(CIPHERTEXT),
        max_size=4,
    )
    _put(patch, "operationContext.environmentVariables", draw(variables))
    return merge(None, patch)


def _put(patch: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        patch = patch.setdefault(key, {})
    patch[last] = value


def sent(settings: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The form as a browser sends it when nobody has touched it."""
    form: dict[str, Any] = {}
    for field in FIELDS:
        value = values_of(settings)[field.path]
        if field.kind == "lines":
            form[field.path] = "\r\n".join(value)
        elif field.kind == "flag" and value:
            form[field.path] = "on"
        elif field.kind in ("text", "number"):
            form[field.path] = value
        elif field.kind == "secret":
            form[field.path] = ""
    return form | changes


@given(stored_settings())
def test_a_form_that_nobody_has_touched_changes_nothing(settings: dict[str, Any]) -> None:
    shown = settings_for_answer(settings)
    assert patch_of(sent(shown), variables_of(shown), shown) == {}


@given(stored_settings())
def test_no_secret_is_in_the_form(settings: dict[str, Any]) -> None:
    shown = settings_for_answer(settings)
    values = [value for value in values_of(shown).values() if isinstance(value, str)]
    assert CIPHERTEXT["ciphertext"] not in values
    assert CIPHERTEXT["ciphertext"] not in [each.value for each in variables_of(shown)]


@given(stored_settings(), stored_settings())
def test_a_form_of_other_settings_makes_them(before: dict[str, Any], after: dict[str, Any]) -> None:
    """All but the secrets, which nobody can fill in from what is shown."""
    old, new = settings_for_answer(before), settings_for_answer(after)
    plain = [each for each in variables_of(new) if not each.secret]
    kept = [Variable(name=e.name, secret=True) for e in variables_of(old) if e.secret]
    names = {each.name for each in kept}
    rows = kept + [each for each in plain if each.name not in names]
    merged = settings_for_answer(merge(before, patch_of(sent(new), rows, old)))
    for field in FIELDS:
        if field.kind != "secret" and not field.path.startswith("sourceContext.git"):
            assert values_of(merged)[field.path] == values_of(new)[field.path]
    assert {e.name: e for e in variables_of(merged)} == {e.name: e for e in [*rows, Variable()]}


def test_a_secret_is_set_kept_replaced_and_removed() -> None:
    path = "sourceContext.git.gitAuth.accessToken"
    stored = {"sourceContext": {"git": {"repoUrl": "https://a.test/x", "gitAuth": {}}}}
    key = "-----BEGIN KEY-----\r\nabc\r\n-----END KEY-----\r\n"
    assert patch_of(sent(stored, **{path: key}), [], stored) == {
        "sourceContext": {"git": {"gitAuth": {"accessToken": {"secret": key.replace("\r", "")}}}}
    }
    stored["sourceContext"]["git"]["gitAuth"]["accessToken"] = CIPHERTEXT
    assert patch_of(sent(stored), [], stored) == {}
    assert patch_of(sent(stored, **{f"remove:{path}": "on"}), [], stored) == {
        "sourceContext": {"git": {"gitAuth": {"accessToken": None}}}
    }


def test_variables_are_added_changed_made_secret_and_removed() -> None:
    stored = {
        "operationContext": {
            "environmentVariables": {"A": "1", "B": CIPHERTEXT, "C": CIPHERTEXT, "D": "4"}
        }
    }
    rows = [
        Variable(name="A", value="2"),
        Variable(name="B", secret=True),
        Variable(name="C", value="new", secret=True),
        Variable(name="E", value="", secret=True),
        Variable(),
    ]
    assert patch_of(sent(stored), rows, stored) == {
        "operationContext": {
            "environmentVariables": {
                "A": "2",
                "C": {"secret": "new"},
                "D": None,
                "E": {"secret": ""},
            }
        }
    }


def leaves(rule: Rule, path: tuple[str, ...] = ()) -> dict[str, Rule]:
    """The settings' fields that hold a value, by their path."""
    if isinstance(rule, Fields):
        parts = [leaves(each, (*path, key)) for key, each in rule.known.items()]
        return {key: each for part in parts for key, each in part.items()}
    return {".".join(path): rule}


def test_every_field_of_the_settings_is_in_the_form() -> None:
    kinds = {Flag: "flag", Number: "number", Texts: "lines", Secret: "secret"}
    wanted = {
        path: kinds.get(type(rule), "text")
        for path, rule in leaves(SETTINGS).items()
        if not isinstance(rule, VariablesRule)
    }
    assert {field.path: field.kind for field in FIELDS} == wanted
    assert len(FIELDS) == len(wanted), "and none twice"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([Variable(name="A", value="1"), Variable(name="A", value="2")], "twice"),
        ([Variable(name="B")], "type its value"),
    ],
)
def test_rows_that_would_lose_something_are_refused(rows: list[Variable], said: str) -> None:
    stored = {"operationContext": {"environmentVariables": {"B": CIPHERTEXT}}}
    with pytest.raises(BadRequest, match=said) as caught:
        patch_of(sent(stored), rows, stored)
    assert wrong_field(str(caught.value.fields["detail"])) == VARIABLES


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        (
            {"sourceContext": {"git": {"repoUrl": "https://a:b@c.test/"}}},
            "sourceContext.git.repoUrl",
        ),
        ({"gitHub": {"deployPullRequest": "x"}}, "gitHub.deployPullRequest"),
        ({"operationContext": {"environmentVariables": {"": "x"}}}, VARIABLES),
    ],
)
def test_a_refusal_names_its_field(patch: dict[str, Any], path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        merge(None, patch)
    assert wrong_field(str(caught.value.fields["detail"])) == path


def test_what_names_no_field_is_about_none() -> None:
    assert wrong_field("The stack's settings keep changing.") == ""
    assert wrong_field("sourceContext.git.repoUrlsomething") == ""
