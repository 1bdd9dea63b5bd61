"""Settings as people compare them: nothing secret, no variable's value, every difference."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.settings_outline import Difference, differences, outline

SECRET = {"ciphertext": "c2VhbGVk"}
SETTINGS: dict[str, Any] = {
    "sourceContext": {
        "git": {
            "repoUrl": "https://git.test/a",
            "branch": "main",
            "gitAuth": {"accessToken": SECRET},
        }
    },
    "operationContext": {
        "preRunCommands": ["make a", "make b"],
        "environmentVariables": {"REGION": "eu-west", "PASSWORD": SECRET},
        "options": {"skipInstallDependencies": True, "refresh": False},
    },
    "gitHub": {"repository": "acme/shop"},
}


def test_what_is_set_is_told_without_what_is_private() -> None:
    found = outline(SETTINGS)
    assert [(each.title, each.text) for each in found.settings] == [
        ("Repository", "https://git.test/a"),
        ("Branch", "main"),
        ("sourceContext.git.gitAuth.accessToken", "a secret"),
        ("Commands before", "make a\nmake b"),
        ("Without installing dependencies", "yes"),
    ]
    assert [(each.name, each.secret) for each in found.variables] == [
        ("PASSWORD", True),
        ("REGION", False),
    ]


def test_differences_name_both_sides_but_no_value_of_a_variable() -> None:
    other: dict[str, Any] = {
        "sourceContext": {
            "git": {
                "repoUrl": "https://git.test/a",
                "commit": "abc",
                "gitAuth": {"accessToken": {"ciphertext": "b3RoZXI="}},
            }
        },
        "operationContext": {
            "preRunCommands": ["make a", "make b"],
            "environmentVariables": {"REGION": "us-east", "NEW": "1"},
        },
    }
    assert differences(SETTINGS, other) == [
        Difference(title="Branch", before="main", after=""),
        Difference(
            title="sourceContext.git.gitAuth.accessToken", before="a secret", after="another secret"
        ),
        Difference(title="Without installing dependencies", before="yes", after=""),
        Difference(title="Commit asked for", before="", after="abc"),
        Difference(title="Variable NEW", before="", after="set"),
        Difference(title="Variable PASSWORD", before="set", after=""),
        Difference(title="Variable REGION", before="set", after="another value"),
    ]


values = st.one_of(st.text(max_size=3), st.just(SECRET), st.booleans(), st.none())
trees = st.fixed_dictionaries(
    {},
    optional={
        "agentPoolID": st.text(max_size=3),
        "operationContext": st.fixed_dictionaries(
            {},
            optional={
                "environmentVariables": st.dictionaries(st.sampled_from("ABC"), values),
                "options": st.dictionaries(st.sampled_from(["refresh", "shell"]), values),
            },
        ),
    },
)


@given(trees, trees)
def test_the_same_settings_differ_in_nothing(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert differences(one, one) == []
    there, back = differences(one, other), differences(other, one)
    assert {each.title for each in there} == {each.title for each in back}
    assert all(each.before or each.after for each in there)
