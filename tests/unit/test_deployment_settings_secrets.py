"""Secrets of deployment settings: every wire form, every place, sealed once and never shown."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.deployment_settings import (
    ciphertexts,
    configuration_of,
    merge,
    needs_sealing,
    read_secret,
    seal,
    seal_value,
    settings_for_answer,
)
from control_plane.errors import BadRequest
from runner_actors.contract import ANY_NAME, SEAL_SUITE, seal_context

PRIVATE = x25519.X25519PrivateKey.generate()
KEY = PRIVATE.public_key().public_bytes_raw()
STACK = "11111111-2222-3333-4444-555555555555"
SECRET = "pla1n-text-that-nobody-may-see"

PLACES: list[tuple[tuple[str, ...], str]] = [
    (("operationContext", "environmentVariables", "TOKEN"), "env/TOKEN"),
    (("sourceContext", "git", "gitAuth", "accessToken"), "git/accessToken"),
    (("sourceContext", "git", "gitAuth", "sshAuth", "sshPrivateKey"), "git/sshPrivateKey"),
    (("sourceContext", "git", "gitAuth", "sshAuth", "password"), "git/sshPassphrase"),
    (("sourceContext", "git", "gitAuth", "basicAuth", "userName"), "git/userName"),
    (("sourceContext", "git", "gitAuth", "basicAuth", "password"), "git/password"),
    (("sourceContext", "template", "gitAuth", "accessToken"), "git/accessToken"),
    (("sourceContext", "hg", "hgAuth", "basicAuth", "password"), "git/password"),
    (("executorContext", "executorImage", "credentials", "password"), "image/password"),
]


def unseal(ciphertext: str, name: str, stack_id: str = STACK) -> str:
    opened = SEAL_SUITE.decrypt(base64.b64decode(ciphertext), PRIVATE, seal_context(stack_id, name))
    return opened.decode()


def at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def look(settings: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        settings = settings[key]
    return settings


def arrive(patch: dict[str, Any], stored: dict[str, Any] | None = None) -> dict[str, Any]:
    return seal(merge(stored, patch), STACK, KEY)


@pytest.mark.parametrize(("path", "name"), PLACES)
@pytest.mark.parametrize("form", [{"secret": SECRET}, {"isSecret": True, "value": SECRET}])
def test_a_secret_is_sealed_for_its_name_and_stack(
    path: tuple[str, ...], name: str, form: Any
) -> None:
    sealed = arrive(at(path, form))
    assert SECRET not in json.dumps(sealed)
    ciphertext = look(sealed, path)["ciphertext"]
    assert look(sealed, path) == {"ciphertext": ciphertext}
    assert unseal(ciphertext, name) == SECRET
    for wrong in ((name + "x", STACK), (name, "another-stack")):
        with pytest.raises(InvalidTag):
            unseal(ciphertext, *wrong)


@pytest.mark.parametrize(("path", "name"), PLACES[1:])
@pytest.mark.parametrize(
    "form", [SECRET, {"plaintext": SECRET}, {"isSecret": False, "value": SECRET}]
)
def test_a_credential_is_a_secret_in_whatever_form(
    path: tuple[str, ...], name: str, form: Any
) -> None:
    assert unseal(look(arrive(at(path, form)), path)["ciphertext"], name) == SECRET


@pytest.mark.parametrize("form", ["v", {"isSecret": False, "value": "v"}, {"plaintext": "v"}])
def test_a_plain_variable_stays_plain(form: Any) -> None:
    path = PLACES[0][0]
    assert look(arrive(at(path, form)), path) == "v"


@pytest.mark.parametrize("form", [{}, {"secret": ""}, {"secret": None}, {"isSecret": True}])
def test_an_empty_secret_is_a_secret(form: Any) -> None:
    path, name = PLACES[0]
    assert unseal(look(arrive(at(path, form)), path)["ciphertext"], name) == ""


def test_a_variable_that_looks_like_a_secret_stays_as_it_was_given() -> None:
    path = ("operationContext", "environmentVariables", "AWS_SECRET_ACCESS_KEY")
    assert look(arrive(at(path, "x" * 40)), path) == "x" * 40


def test_what_is_sealed_stays_the_same_however_often_it_comes_back() -> None:
    path, _ = PLACES[0]
    first = arrive(at(path, {"secret": SECRET}))
    for answer in (settings_for_answer(first), first):
        again = arrive(answer)
        assert look(again, path) == look(first, path)
        assert look(arrive(answer, first), path) == look(first, path)
    both = arrive(at(path, {"secret": SECRET, "ciphertext": look(first, path)["ciphertext"]}))
    assert look(both, path) == look(first, path)
    assert look(arrive({}, first), path) == look(first, path)


def test_what_is_sealed_here_can_be_opened_under_any_name_if_it_was_made_so() -> None:
    path, _ = PLACES[0]
    ciphertext = seal_value(SECRET, STACK, ANY_NAME, KEY)
    sealed = arrive(at(path, {"ciphertext": ciphertext}))
    assert unseal(look(sealed, path)["ciphertext"], ANY_NAME) == SECRET


def test_answers_show_ciphertext_only() -> None:
    sealed: dict[str, Any] = {}
    for path, _ in PLACES:
        sealed = arrive(at(path, {"secret": SECRET}), sealed)
    answer = settings_for_answer(sealed)
    assert SECRET not in json.dumps(answer)
    for path, _ in PLACES:
        assert set(look(answer, path)) == {"ciphertext"}
        assert look(answer, path) == look(sealed, path)
    assert len(ciphertexts(sealed)) == len(PLACES)
    shown = configuration_of(sealed)["environmentVariables"]
    assert shown == [{"name": "TOKEN", "value": "", "secret": True}]


def test_an_answer_cannot_show_plain_text_even_of_settings_that_were_never_sealed() -> None:
    for path, _ in PLACES:
        unsealed = merge(None, at(path, {"secret": SECRET}))
        assert needs_sealing(unsealed)
        assert SECRET not in json.dumps(settings_for_answer(unsealed))
        assert not needs_sealing(seal(unsealed, STACK, KEY))


def test_an_image_without_credentials_is_answered_as_its_name() -> None:
    image = {"executorContext": {"workingDirectory": "", "executorImage": "pulumi/pulumi:3"}}
    assert settings_for_answer(arrive(image)) == image


def test_a_value_to_encrypt_comes_bare_or_as_an_object() -> None:
    assert read_secret("v", "The body") == read_secret({"secret": "v"}, "The body") == "v"
    assert read_secret({"isSecret": False, "value": "v"}, "The body") == "v"
    for wrong in (3, ["v"], {"secret": 3}, None):
        with pytest.raises(BadRequest, match="The body must be"):
            read_secret(wrong, "The body")


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
secret_text = text.map(lambda value: f"«{value}»")
secret_form = secret_text.flatmap(
    lambda value: st.sampled_from(
        [{"secret": value}, {"isSecret": True, "value": value}, {"secret": value, "x": 1}]
    )
)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"\A[A-Z_]{1,8}\Z"), secret_form, min_size=1, max_size=5))
def test_no_secret_survives_its_arrival(variables: dict[str, Any]) -> None:
    sealed = arrive({"operationContext": {"environmentVariables": variables}})
    kept = sealed["operationContext"]["environmentVariables"]
    everything = json.dumps([sealed, settings_for_answer(sealed)], ensure_ascii=False)
    assert "«" not in everything
    for name, form in variables.items():
        plaintext = form.get("secret") or form.get("value")
        assert unseal(kept[name]["ciphertext"], f"env/{name}") == plaintext


broken = st.sampled_from(
    [
        lambda s: {"secret": [s]},
        lambda s: {"secret": {"secret": s}},
        lambda s: {"secret": s + "\x00"},
        lambda s: {"ciphertext": s},
        lambda s: {"ciphertext": [s]},
        lambda s: [s],
        lambda s: {"isSecret": True, "value": [s]},
        lambda s: s + "\x00",
    ]
)


@settings(deadline=None)
@given(st.sampled_from(PLACES), broken)
def test_an_error_never_repeats_the_value(place: Any, breakage: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        arrive(at(place[0], breakage(SECRET)))
    assert SECRET not in caught.value.message
    assert SECRET not in repr(caught.value.fields)
    assert place[0][-1] in caught.value.message


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"environmentVariables": {"KEY": {"secret": SECRET}}}, "environmentVariables.KEY"),
        ({"future": {"secret": SECRET}}, "future"),
        ({"future": [{"deep": {"isSecret": True, "value": SECRET}}]}, "future.….deep"),
        (at(("operationContext", "variables", "K"), {"secret": SECRET}), "variables.K"),
        (at(("sourceContext", "git", "accessToken"), {"secret": SECRET}), "git.accessToken"),
        *(
            (at(("sourceContext", "git", "gitAuth", *place), form), ".".join(place))
            for place in (("accesstoken",), ("sshAuth", "sshprivatekey"), ("basicAuth", "pass"))
            for form in (SECRET, {"secret": SECRET})
        ),
        (
            at(("executorContext", "executorImage", "credentials", "passwd"), SECRET),
            "credentials.passwd",
        ),
    ],
)
def test_a_secret_in_a_field_that_is_none_is_refused(patch: dict[str, Any], path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        merge(None, patch)
    assert f"{path}' is not a field of the settings" in caught.value.message
    assert SECRET not in caught.value.message


def test_what_only_looks_like_a_secret_is_kept() -> None:
    patch = {"future": {"isSecret": False, "value": "x", "secret": None, "secrets": ["name"]}}
    assert merge(None, patch)["future"]["secrets"] == ["name"]
