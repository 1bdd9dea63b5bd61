"""A stack's deployment settings: how they are checked, merged, sealed and shown.

Settings are the JSON object of the Pulumi Cloud API. A secret in them is `{"secret": "text"}` only
between its arrival and its sealing; kept, and answered, is `{"ciphertext": "base64"}`, the same one
each time. A plain value is a bare string.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from control_plane.domain import settings_reading
from control_plane.domain.github import triggers
from control_plane.domain.settings_schema import SETTINGS, Fields, Rule, Secret, Variables
from control_plane.errors import BadRequest
from runner_actors import contract

Settings = dict[str, Any]

TARGETS_MAX = 50
TARGET_CHARACTERS_MAX = 2000
MESSAGE_CHARACTERS_MAX = 2000

READ_ONLY = ("version", "source")
"""Told by the server, and ignored when a client sends them back."""

OWN_IMAGE = re.compile(
    r"(?:(?:index\.)?docker\.io/|ghcr\.io/|public\.ecr\.aws/)?"
    r"pulumi/pulumi(?:-(?:base|python|nodejs|go))?(?::[\w.-]{1,128})?\Z"
)
"""Pulumi's images, in any tag, whose CLI and languages every pool has installed: nothing is pulled.

Not among them: a digest, since it asks for exactly those bytes; an image of one language version
(`pulumi-python-3.12`), and the languages that pools do not have (`pulumi-dotnet`, `pulumi-java`).
"""

SOURCES = (
    ("git", "repoUrl", "gitAuth"),
    ("hg", "repoUrl", "hgAuth"),
    ("template", "sourceUrl", "gitAuth"),
)
"""Kinds of sources, each with its fields for the address and for the credentials."""

_ORIGIN = re.compile(r"(?:([^:/?#]*)://)?(?:[^/?#]*@)?([^/?#]*)")

WRITTEN_BY_GENERATED_CLIENTS = frozenset(
    (
        "tag",
        "executorContext",
        "sourceContext",
        "gitHub",
        "vcs",
        "operationContext",
        "agentPoolID",
        "cacheOptions",
    )
)
"""All fields of a request in the published schema."""

GIT_REFERENCES = ("branch", "commit", "tag")
"""What to check out: whoever names one of them means that one, whatever was set before."""


def merge(stored: Settings | None, patch: Settings) -> Settings:
    """Lay a patch over stored settings, by the rules of a JSON merge patch (RFC 7386).

    Objects merge deeply, null removes, lists and scalars replace; a secret is one scalar. Two more
    rules: a patch that names a branch, commit or tag takes the place of all three, and one that
    moves the source to another server leaves the stored credentials behind. Raises BadRequest
    naming the field that is wrong, never its value.
    """
    wanted = said(settings_reading.read(patch))
    base = {key: value for key, value in (stored or {}).items() if key not in READ_ONLY}
    base = _without_others_credentials(_without_other_references(base, wanted), wanted)
    merged = _overlay(SETTINGS, base, wanted)
    for key in READ_ONLY:
        merged.pop(key, None)
    return merged


def said(patch: Settings) -> Settings:
    """What a patch says.

    A client generated from the published schema (the Cloud REST SDK for Python) cannot leave a
    field out: it writes null. So where all fields are written, a null among them says nothing;
    elsewhere it was meant.
    """
    return _without_null(patch) if patch.keys() >= WRITTEN_BY_GENERATED_CLIENTS else patch


def _without_null(patch: Settings) -> Settings:
    return {
        key: _without_null(each) if isinstance(each, dict) else each
        for key, each in patch.items()
        if each is not None
    }


def seal(settings: Settings, stack_id: str, public_key: bytes) -> Settings:
    """Seal all secrets to a pool's key, each under its own name; what is sealed stays as it is."""

    def sealed(name: str, value: Any) -> Any:
        if isinstance(value, dict) and "secret" in value:
            return {"ciphertext": seal_value(value["secret"], stack_id, name, public_key)}
        return value

    return _map_secrets(settings, sealed)


def seal_value(plaintext: str, stack_id: str, name: str, public_key: bytes) -> str:
    """Seal one value for one name of a stack; the answer is base64."""
    return contract.seal(plaintext.encode(), public_key, contract.seal_context(stack_id, name))


def needs_sealing(settings: Settings) -> bool:
    """Whether there is a secret in plain text, so that a pool's key is needed."""
    return any("secret" in value for _, value in _secrets(settings))


def ciphertexts(settings: Settings) -> set[str]:
    """All sealed values: they can be opened by the pool they were sealed to, and by no other."""
    return {value["ciphertext"] for _, value in _secrets(settings) if "ciphertext" in value}


def read_secret(value: Any, path: str) -> str:
    """The plain text of a value that is to be encrypted: a bare string or a secret's object."""
    read = settings_reading.read_secret(Secret(contract.ANY_NAME), value, (path,))
    if "secret" not in read:
        raise BadRequest(detail=f"{path} is encrypted already.")
    return str(read["secret"])


def settings_for_answer(settings: Settings) -> Settings:
    """What GET answers: a secret as its ciphertext alone, an image without more as its name."""

    def shown(_: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {"ciphertext": value.get("ciphertext", "")}
        return value

    answer = _map_secrets(settings, shown)
    executor = answer.get("executorContext") or {}
    if set(executor.get("executorImage") or ()) == {"reference"}:
        image = executor["executorImage"]["reference"]
        answer = answer | {"executorContext": executor | {"executorImage": image}}
    return answer


def settings_by_schema(settings: Settings) -> Settings:
    """The same in the words of the published schema, where any such value is an object.

    Each has a `secret`, which is empty: nothing secret is ever shown.
    """

    def shown(_: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {"secret": "", "ciphertext": value.get("ciphertext", "")}
        return {"secret": "", "plaintext": value}

    return _map_secrets(settings, shown)


def configuration_of(settings: Settings) -> dict[str, Any]:
    """What a deployment shows of its settings: the source, and variables with secrets blanked."""
    variables = (settings.get("operationContext") or {}).get("environmentVariables") or {}
    return {
        "environmentVariables": [
            {
                "name": name,
                "value": value if isinstance(value, str) else "",
                "secret": not isinstance(value, str),
            }
            for name, value in sorted(variables.items())
        ],
        "source": _shown_source(settings.get("sourceContext") or {}),
    }


def _shown_source(source: Settings) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    git, template = source.get("git"), source.get("template")
    if git:
        shown["git"] = {
            "repoURL": git.get("repoUrl", ""),
            "branch": git.get("branch", ""),
            "repoDir": git.get("repoDir", ""),
            "commit": git.get("commit", ""),
        }
    if template:
        shown["template"] = {"sourceUrl": template.get("sourceUrl", "")}
    return shown


def repository_of(settings: Settings) -> str:
    """The GitHub repository whose pushes concern the stack, as `owner/name`; empty without one."""
    found = triggers.read(settings)
    return found.repository if found else ""


def with_repository_address(settings: Settings, base_url: str) -> Settings:
    """The settings with the address of their GitHub repository, where they give no other."""
    source = settings.get("sourceContext") or {}
    git = source.get("git") or {}
    repository = repository_of(settings)
    if not repository or git.get("repoUrl"):
        return settings
    address = f"{base_url.rstrip('/')}/{repository}.git"
    return settings | {"sourceContext": source | {"git": git | {"repoUrl": address}}}


def without_secrets(settings: Settings) -> Settings:
    """The settings without anything secret: for code that nobody here answers for."""
    names = {name for name, _ in _secrets(settings)}
    operation = settings.get("operationContext") or {}
    variables = operation.get("environmentVariables") or {}
    plain = {name: value for name, value in variables.items() if isinstance(value, str)}
    if variables:
        operation = operation | {"environmentVariables": plain}
        settings = settings | {"operationContext": operation}
    source = settings.get("sourceContext") or {}
    bare = {
        kind: {key: value for key, value in each.items() if not key.endswith("Auth")}
        for kind, each in source.items()
        if isinstance(each, dict)
    }
    if any(not name.startswith("env/") for name in names) and source:
        settings = settings | {"sourceContext": source | bare}
    return settings


def without_empty(patch: Settings, rule: Rule | None = SETTINGS) -> Settings:
    """A patch without empty strings, lists and objects; a secret or a variable may be empty."""
    kept: Settings = {}
    for key, each in patch.items():
        inner = _rule_of(rule, key)
        if isinstance(each, dict) and not isinstance(inner, Secret):
            each = without_empty(each, inner)
        if isinstance(inner, Secret) or each not in ("", [], {}):
            kept[key] = each
    return kept


def require_variables_max(settings: Settings, variables_max: int) -> None:
    """Raise BadRequest when there are more environment variables than allowed."""
    variables = (settings.get("operationContext") or {}).get("environmentVariables") or {}
    if len(variables) > variables_max:
        raise BadRequest(
            detail=f"operationContext.environmentVariables has {len(variables)} entries, and may"
            f" have {variables_max}."
        )


def require_options_max(settings: Settings) -> None:
    """Raise BadRequest for options that would not fit into the arguments of one CLI call."""
    options = (settings.get("operationContext") or {}).get("options") or {}
    targets = options.get("targets") or []
    if len(targets) > TARGETS_MAX or any(not 0 < len(u) <= TARGET_CHARACTERS_MAX for u in targets):
        raise BadRequest(
            detail=f"operationContext.options.targets may be {TARGETS_MAX} URNs, each of 1 to"
            f" {TARGET_CHARACTERS_MAX} characters."
        )
    if len(options.get("message") or "") > MESSAGE_CHARACTERS_MAX:
        raise BadRequest(
            detail=f"operationContext.options.message may have {MESSAGE_CHARACTERS_MAX} characters."
        )


def require_own_image(settings: Settings) -> None:
    """Raise BadRequest when a deployment would need an image that runners do not hold.

    Settings may name any image: they come and go unchanged, from other servers too. A deployment
    must not, or it would run with other tools than it asked for.
    """
    image = (settings.get("executorContext") or {}).get("executorImage") or {}
    reference = image.get("reference")
    if reference and not OWN_IMAGE.match(reference):
        raise BadRequest(
            detail=f"executorContext.executorImage: runners cannot run the image '{reference}'."
            " Leave it out, or use pulumi/pulumi: deployments run with what its images hold. What"
            " else a program needs can be installed by operationContext.preRunCommands."
        )


def _overlay(rule: Rule | None, stored: Any, patch: Settings) -> Settings:
    merged: Settings = dict(stored) if isinstance(stored, dict) else {}
    for key, value in patch.items():
        inner = _rule_of(rule, key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and not isinstance(inner, Secret):
            merged[key] = _overlay(inner, merged.get(key), value)
        else:
            merged[key] = value
    return merged


def _rule_of(rule: Rule | None, key: str) -> Rule | None:
    match rule:
        case Fields():
            return rule.known.get(key)
        case Variables():
            return rule.each(key)
    return None


def _without_other_references(stored: Settings, patch: Settings) -> Settings:
    named = (patch.get("sourceContext") or {}).get("git") or {}
    source = stored.get("sourceContext") or {}
    if not source.get("git") or not any(named.get(key) for key in GIT_REFERENCES):
        return stored
    git = {key: value for key, value in source["git"].items() if key not in GIT_REFERENCES}
    return stored | {"sourceContext": source | {"git": git}}


def _without_others_credentials(stored: Settings, patch: Settings) -> Settings:
    """The stored settings without credentials that were given for another server."""
    source = dict(stored.get("sourceContext") or {})
    wanted = patch.get("sourceContext") or {}
    for kind, address, credentials in SOURCES:
        old, new = source.get(kind) or {}, wanted.get(kind) or {}
        if old.get(address) and address in new and _origin(old[address]) != _origin(new[address]):
            source[kind] = {key: value for key, value in old.items() if key != credentials}
    return stored | {"sourceContext": source} if source else stored


def _origin(url: str | None) -> tuple[str, str]:
    """Scheme and server of an address; `user@host:path` is another way to write ssh://."""
    found = _ORIGIN.match(url or "")
    assert found is not None  # noqa: S101 - every part of the pattern may be empty
    scheme, server = found.groups()
    if scheme is None:
        return "ssh", server.partition(":")[0].lower()
    return scheme.lower(), server.lower()


def _map_secrets(
    settings: Settings, change: Callable[[str, Any], Any], rule: Rule = SETTINGS
) -> Settings:
    """The settings with each present secret changed; `change` gets its sealing name and it."""
    changed: Settings = {}
    for key, value in settings.items():
        inner = _rule_of(rule, key)
        if isinstance(inner, Secret):
            changed[key] = change(inner.name, value)
        elif isinstance(inner, Fields | Variables) and isinstance(value, dict):
            changed[key] = _map_secrets(value, change, inner)
        else:
            changed[key] = value
    return changed


def _secrets(settings: Settings) -> list[tuple[str, Settings]]:
    found: list[tuple[str, Settings]] = []

    def note(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            found.append((name, value))
        return value

    _map_secrets(settings, note)
    return found
