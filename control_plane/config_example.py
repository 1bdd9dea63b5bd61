"""Writes `configs/slipway.example.toml` from the settings' own definitions.

Run `python -m control_plane.config_example > configs/slipway.example.toml` after changing them.
"""

from __future__ import annotations

import ast
import inspect
import json

import msgspec

from control_plane import config


def render() -> str:
    """The whole example file: every setting with its default and what it is for."""
    parts = [
        "# All settings with their defaults. Each is also a variable SLIPWAY_<SECTION>__<KEY>.\n"
    ]
    for section in msgspec.structs.fields(config.Config):
        struct = section.type
        parts.append(f"\n# {inspect.getdoc(struct)}\n[{section.name}]\n")
        notes = _notes(struct)
        for field in msgspec.structs.fields(struct):
            for line in notes.get(field.name, "").splitlines():
                parts.append(f"# {line.strip()}\n")
            parts.append(f"# {field.name} = {json.dumps(field.default)}\n")
    return "".join(parts)


def _notes(struct: type) -> dict[str, str]:
    """The docstrings under the fields, which Python itself does not keep."""
    body = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - a class's source is a class
    notes: dict[str, str] = {}
    last = ""
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
        elif last and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            notes[last] = str(node.value.value)
            last = ""
    return notes


if __name__ == "__main__":
    print(render(), end="")
