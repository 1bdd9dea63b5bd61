"""A Pulumi program whose resources need no cloud, and states of its stacks for import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.cli import Cli
from tests.support.programs import repository

THINGS = """
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

class Provider(ResourceProvider):
    def create(self, props):
        return CreateResult("made", {**props, "text": "hello " + props["name"]})

    def diff(self, _id, olds, news):
        return DiffResult(
            changes=olds["name"] != news["name"],
            replaces=["name"] if news["name"].startswith("new") else [],
            delete_before_replace=False,
        )

    def update(self, _id, _olds, news):
        return UpdateResult(self.create(news).outs)

class Thing(Resource):
    text: pulumi.Output[str]
    def __init__(self, name, value, **options):
        props = {"name": value, "text": None}
        super().__init__(Provider(), name, props, pulumi.ResourceOptions(**options))

class Box(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Box", name)
        self.inside = Thing(name + "-inside", "inner", parent=self)
        self.register_outputs({"text": self.inside.text})

config = pulumi.Config()
thing = Thing("thing", config.get("name") or "world")
box = Box(config.get("box") or "box")
pulumi.export("text", thing.text)
pulumi.export("password", config.require_secret("password"))
"""
"""A stack with a component and two custom resources, which its default provider makes."""

BOXES = """
import pulumi

class Box(pulumi.ComponentResource):
    def __init__(self, name, **options):
        super().__init__("test:index:Box", name, None, pulumi.ResourceOptions(**options))

lid = Box("lid", parent=Box("box"))
pulumi.export("boxes", 2)
"""
"""A stack of components only: quick, since no provider is started."""


def new_cli(url: str, directory: Path, project: str, program: str = BOXES) -> Cli:
    """The CLI with a home of its own in a new project."""
    return Cli(url, repository(directory / "project", project, program), directory / "home")


def urn(project: str, stack: str, kind: str, name: str) -> str:
    return f"urn:pulumi:{stack}::{project}::{kind}::{name}"


def boxes(project: str, stack: str, *names: str) -> dict[str, Any]:
    """The state of a stack with these components, for `pulumi stack import`."""
    root = urn(project, stack, "pulumi:pulumi:Stack", f"{project}-{stack}")
    resources: list[dict[str, Any]] = [
        {"urn": root, "custom": False, "type": "pulumi:pulumi:Stack"}
    ]
    resources += [
        {
            "urn": urn(project, stack, "test:index:Box", name),
            "custom": False,
            "type": "test:index:Box",
            "parent": root,
        }
        for name in names
    ]
    manifest = {"time": "2026-01-02T03:04:05Z", "magic": "", "version": ""}
    return {"version": 3, "deployment": {"manifest": manifest, "resources": resources}}


def import_boxes(cli: Cli, project: str, stack: str, *names: str) -> None:
    """Give the selected stack these components, without an update."""
    file = cli.home.parent / f"{stack}.json"
    file.write_text(json.dumps(boxes(project, stack, *names)))
    cli.run("stack", "import", "--file", str(file), "--stack", stack)
