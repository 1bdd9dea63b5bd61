"""What githubkit's generated models say of GitHub's routes, and values that satisfy them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from githubkit.utils import Unset
from githubkit_schemas.latest import models
from pydantic import BaseModel, TypeAdapter

WHEN = "2026-01-02T03:04:05Z"


def model(name: str) -> Any:
    """A model of githubkit; `list[Name]` is a list of it."""
    if name.startswith("list["):
        return list[model(name[5:-1])]  # type: ignore[misc]
    return getattr(models, name)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(model(name))


def answer_problem(name: str, value: Any) -> str:
    """What is wrong with an answer of ours; empty when nothing is."""
    try:
        _adapter(name).validate_python(value)
    except ValueError as error:
        return str(error)
    return ""


def body_problem(names: tuple[str, ...], body: Any) -> str:
    """What is wrong with a request's body; it must fit one of the models and have no more."""
    complaints = []
    for name in names:
        if complaint := answer_problem(name, body):
            complaints.append(complaint)
            continue
        known = {field.alias or key for key, field in model(name).model_fields.items()}
        if more := set(body) - known:
            complaints.append(f"{name} has no {sorted(more)}")
            continue
        return ""
    return "\n".join(complaints)


def webhook_model(event: str, action: str) -> str:
    """The model of a webhook's payload."""
    words = f"{event}_{action}" if action else event
    return "Webhook" + "".join(word.capitalize() for word in words.split("_"))


def complete(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A value of a model: what is given, and for every other required field the dullest one."""
    return _completed(model(name), given)


def _completed(wanted: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(given)
    for key, field in wanted.model_fields.items():
        name = field.alias or key
        if name in result:
            result[name] = _inside(field.annotation, result[name])
        elif field.is_required():
            result[name] = _dull(field.annotation)
    return result


def _inside(annotation: Any, value: Any) -> Any:
    """The same for what is given of another model, or of a list of them."""
    options = _options(annotation)
    if isinstance(value, list):
        lists = [each for each in options if get_origin(each) is list]
        return [_inside(get_args(lists[0])[0], each) for each in value] if lists else value
    inner = _model_in(annotation)
    return _completed(inner, value) if inner is not None and isinstance(value, Mapping) else value


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(each for option in get_args(annotation) for each in _options(option))
    return (annotation,)


def _model_in(annotation: Any) -> Any:
    """The one model among the options, if there is just one."""
    found = [
        each
        for each in _options(annotation)
        if isinstance(each, type) and issubclass(each, BaseModel)
    ]
    return found[0] if len(found) == 1 else None


def _dull(annotation: Any) -> Any:
    options = [each for each in _options(annotation) if each is not Unset]
    if type(None) in options or None in options:
        return None
    first = options[0]
    if get_origin(first) is Literal:
        return get_args(first)[0]
    if get_origin(first) in (list, dict):
        return [] if get_origin(first) is list else {}
    if isinstance(first, type) and issubclass(first, BaseModel):
        return _completed(first, {})
    plain = {str: "", int: 0, float: 0.0, bool: False, datetime: WHEN, list: [], dict: {}}
    return plain.get(first, "")
