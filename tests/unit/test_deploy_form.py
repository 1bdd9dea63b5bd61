"""The form that deploys, as a request: nothing typed says nothing; what is typed is said once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.datastructures import FormMultiDict

from control_plane.domain.deployment_request import one_run_patch
from control_plane.domain.deployment_settings import merge
from control_plane.errors import BadRequest
from ui.deploy_form import Choices, choices_of, key_of, operation_of, request_of, shown_again
from ui.settings_form import Variable

STORED = {
    "sourceContext": {"git": {"repoUrl": "https://a.test/r.git", "branch": "main"}},
    "operationContext": {"environmentVariables": {"A": "1"}, "options": {"shell": "sh"}},
}


def form(*fields: tuple[str, str]) -> FormMultiDict:
    return FormMultiDict(list(fields))


def test_nothing_typed_says_nothing() -> None:
    empty = choices_of(form(("operation", "update"), ("variable", ""), ("value", "")))
    assert request_of(empty) == {}
    assert not empty.are_any


def test_everything_typed_is_in_the_request() -> None:
    sent = form(
        ("operation", "update"),
        ("commit", " abcdef0 "),
        ("message", "why"),
        ("targets", "urn:a\r\n\r\n urn:b "),
        ("dependents", "on"),
        ("refresh", "on"),
        ("variable", "P"),
        ("value", "1"),
        ("variable", "S"),
        ("value", "hush"),
        ("secret", "1"),
    )
    choices = choices_of(sent)
    request = request_of(choices)
    assert request == {
        "sourceContext": {"git": {"commit": "abcdef0"}},
        "operationContext": {
            "environmentVariables": {"P": "1", "S": {"secret": "hush"}},
            "options": {
                "targets": ["urn:a", "urn:b"],
                "targetDependents": True,
                "refresh": True,
                "message": "why",
            },
        },
    }
    merged = merge(STORED, one_run_patch(request))
    assert merged["sourceContext"]["git"] == {
        "repoUrl": "https://a.test/r.git",
        "commit": "abcdef0",
    }
    assert merged["operationContext"]["options"]["shell"] == "sh"
    assert choices.are_any
    again = shown_again(choices)
    assert "hush" not in str(again)
    assert again.variables == (
        Variable(name="P", value="1"),
        Variable(name="S", secret=True),
        Variable(),
    )


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (Choices(branch="a", commit="b"), "not both"),
        (Choices(variables=(Variable(value="lost"),)), "no name"),
    ],
)
def test_what_contradicts_itself_is_refused(choices: Choices, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        request_of(choices)


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(BadRequest, match="no operation"):
        operation_of(Choices(operation="drop"))


texts = st.text(max_size=3)
choices = st.builds(Choices, branch=texts, message=texts, operation=texts, refresh=st.booleans())


@given(choices, choices)
def test_the_same_form_has_the_same_key_and_another_another(one: Choices, two: Choices) -> None:
    assert (key_of("k", one) == key_of("k", two)) == (one == two)
    assert key_of("", one) == ""
