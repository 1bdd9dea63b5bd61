"""Laws of the settings merge, on settings with all that clients know in them."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import x25519
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from control_plane.domain.deployment_settings import (
    merge,
    seal,
    settings_for_answer,
)

KEY = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
STACK = "11111111-2222-3333-4444-555555555555"
URL = "https://git.test/r"

Settings = dict[str, Any]

texts = st.text("abc /.", max_size=4)
names = st.sampled_from(["A", "secret", "ciphertext", "value"])
ciphertexts = st.binary(min_size=48, max_size=60).map(lambda raw: base64.b64encode(raw).decode())
sealed = ciphertexts.map(lambda text: {"ciphertext": text})
plain_secrets = texts.map(lambda text: {"secret": text})
variables = texts | sealed | plain_secrets
credentials = sealed | plain_secrets
"""Secrets and variables in the form in which they are kept."""


def trees(*, nulls: bool) -> st.SearchStrategy[Settings]:
    """Settings; with nulls, patches. The source's address and references have laws of their own."""

    def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(values, values, values, st.none()) if nulls else values

    def objects(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        """Objects with most of these fields: two of them shall have something in common."""
        fields = {name: maybe(values) for name, values in known.items()}
        left_out = st.sets(st.sampled_from(sorted(known)), max_size=1 + len(known) // 3)
        whole = st.fixed_dictionaries(fields)
        return st.builds(
            lambda made, out: {key: each for key, each in made.items() if key not in out},
            whole,
            left_out,
        )

    auth = objects(
        accessToken=credentials,
        sshAuth=objects(sshPrivateKey=credentials, password=credentials),
        basicAuth=objects(userName=credentials, password=credentials),
    )
    return objects(
        agentPoolID=texts,
        executorContext=objects(workingDirectory=texts, executorImage=objects(reference=texts)),
        sourceContext=objects(git=objects(repoDir=texts, gitAuth=auth)),
        operationContext=objects(
            preRunCommands=st.lists(texts, max_size=2),
            environmentVariables=st.dictionaries(names, maybe(variables), max_size=4),
            options=objects(skipInstallDependencies=st.booleans(), shell=texts),
        ),
        future=objects(deep=st.lists(texts, max_size=2), more=st.booleans()),
    )


stored = trees(nulls=False)
patches = trees(nulls=True)


def is_secret(value: Any) -> bool:
    """Whether this is a secret in the form in which it is kept, and no object of variables."""
    return (
        isinstance(value, dict)
        and len(value) == 1
        and isinstance(next(iter(value.values())), str)
        and next(iter(value)) in ("secret", "ciphertext")
    )


def merge_patch(target: Any, patch: Any, path: tuple[str, ...] = ()) -> Any:
    """The pseudocode of RFC 7386, section 2, to which a secret is a scalar."""
    names_variables = path[-1:] == ("environmentVariables",)
    if not isinstance(patch, dict) or (is_secret(patch) and not names_variables):
        return patch
    kept = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = merge_patch(kept.get(name), value, (*path, name))
    return kept


def paths(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """All fields, inner ones too; a secret is one."""
    found = [path] if path else []
    whole = is_secret(tree) and path[-1:] != ("environmentVariables",)
    if isinstance(tree, dict) and not whole:
        for name, value in tree.items():
            found += paths(value, (*path, name))
    return found


def patch_at(path: tuple[str, ...], value: Any) -> Settings:
    for name in reversed(path):
        value = {name: value}
    return dict(value)


def without(tree: Settings, path: tuple[str, ...]) -> Settings:
    left = copy.deepcopy(tree)
    inner = left
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return left


@settings(deadline=None)
@given(stored, patches)
def test_it_is_the_standard_merge_patch_and_changes_neither(
    before: Settings, patch: Settings
) -> None:
    copies = copy.deepcopy((before, patch))
    assert merge(before, patch) == merge_patch(before, patch)
    assert (before, patch) == copies


@settings(deadline=None)
@given(stored, patches)
def test_the_same_patch_again_changes_nothing(before: Settings, patch: Settings) -> None:
    once = merge(before, patch)
    assert merge(once, patch) == once
    assert merge(once, {}) == once


@settings(deadline=None)
@given(stored)
def test_settings_laid_over_themselves_are_themselves(whole: Settings) -> None:
    assert merge(None, whole) == merge(whole, whole) == merge({}, whole)


@settings(deadline=None)
@given(stored, st.data())
def test_null_removes_that_field_and_no_other(whole: Settings, data: st.DataObject) -> None:
    found = paths(whole)
    assume(found)
    path = data.draw(st.sampled_from(found))
    assert merge(whole, patch_at(path, None)) == without(whole, path)


@settings(deadline=None)
@given(stored, patches)
def test_a_secret_that_is_not_named_stays_as_it_was_sealed(
    before: Settings, patch: Settings
) -> None:
    """And what a client was answered may be sent back: all of it, or a part."""
    kept = seal(before, STACK, KEY)
    after = seal(merge(kept, patch), STACK, KEY)
    named = paths(patch)
    for path in paths(kept):
        touched = any(path[: len(each)] == each for each in named if each in leaves(patch))
        if not touched:
            assert look(after, path) == look(kept, path)
    assert merge(after, settings_for_answer(after)) == after
    assert '"secret": "' not in json.dumps(secrets_of(after))


def leaves(patch: Settings) -> set[tuple[str, ...]]:
    """The fields of a patch that it sets or removes, not those that it only goes through."""
    found = paths(patch)
    return {each for each in found if not any(one[:-1] == each for one in found)}


def look(tree: Any, path: tuple[str, ...]) -> Any:
    """What is at a path, when it is a secret; else only that it is not one."""
    if path[-1] == "environmentVariables":
        # One of them may be called `secret`, but they are no secret's object.
        return None
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if is_secret(tree) else None


def secrets_of(tree: Settings) -> list[Any]:
    return [look(tree, path) for path in paths(tree)]


FORMS = (
    lambda text: {"secret": text},
    lambda text: {"isSecret": True, "value": text},
    lambda text: {"secret": text, "future": 1},
)
PLAIN_FORMS = (
    lambda text: text,
    lambda text: {"isSecret": False, "value": text},
    lambda text: {"plaintext": text},
    lambda text: {"secret": "", "plaintext": text},
)


@given(texts, st.sampled_from(FORMS), stored)
def test_every_form_of_a_secret_is_the_same_secret(text: str, form: Any, before: Settings) -> None:
    for path in (
        ("operationContext", "environmentVariables", "A"),
        ("sourceContext", "git", "gitAuth", "accessToken"),
    ):
        assert merge(before, patch_at(path, form(text))) == merge(
            before, patch_at(path, {"secret": text})
        )


@given(texts, st.sampled_from(PLAIN_FORMS), stored)
def test_every_form_of_a_plain_value_is_the_same_text(
    text: str, form: Any, before: Settings
) -> None:
    path = ("operationContext", "environmentVariables", "A")
    assert merge(before, patch_at(path, form(text))) == merge(before, patch_at(path, text))


@given(ciphertexts, texts, stored)
def test_a_ciphertext_counts_more_than_a_text_beside_it(
    ciphertext: str, text: str, before: Settings
) -> None:
    path = ("operationContext", "environmentVariables", "A")
    both = {"secret": text, "ciphertext": ciphertext}
    assert merge(before, patch_at(path, both)) == merge(
        before, patch_at(path, {"ciphertext": ciphertext})
    )
