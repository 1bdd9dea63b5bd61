"""A program that does everything a state can hold, and states made comparable."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.support.cli import Cli

PROGRAM = """
import json, os, time, pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

class Provider(ResourceProvider):
    def create(self, props):
        if props["value"] == "fails":
            raise Exception("this one fails")
        if props["value"] == "waits":
            open("waiting", "w").close()
            deadline = time.monotonic() + 60
            while not os.path.exists("go") and time.monotonic() < deadline:
                time.sleep(0.01)
        return CreateResult(props["name"] + "-id", {**props, "text": "made " + props["value"]})

    def diff(self, _id, olds, news):
        return DiffResult(
            changes=olds["value"] != news["value"],
            replaces=["value"] if news["value"].startswith("new") else [],
            delete_before_replace=news["value"].endswith("first"),
        )

    def update(self, _id, _olds, news):
        return UpdateResult(self.create(news).outs)

class Thing(Resource):
    text: pulumi.Output[str]
    def __init__(self, name, value, **options):
        props = {"name": name, "value": value, "text": None}
        super().__init__(Provider(), name, props, pulumi.ResourceOptions(**options))

class Box(pulumi.ComponentResource):
    def __init__(self, name, kind, after):
        aliases = [] if kind == "Box" else [pulumi.Alias(type_="test:index:Box")]
        options = pulumi.ResourceOptions(aliases=aliases, depends_on=after)
        super().__init__("test:index:" + kind, name, None, options)
        self.inside = Thing(name + "-inside", "inner", parent=self)
        self.register_outputs({"text": self.inside.text})

config = pulumi.Config()
secret = config.require_secret("password")
last = Thing("hushed", secret, additional_secret_outputs=["text"])
box = Box("box", config.get("kind") or "Box", [last])
last = box.inside
# One after the other, so that equal runs have equal states.
for name, value in json.loads(config.require("things")).items():
    last = Thing(name, value, protect=name == "guarded", depends_on=[last])
pulumi.export("text", box.inside.text)
pulumi.export("password", secret)
pulumi.export("count", len(json.loads(config.require("things"))))
"""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VARYING = ("created", "modified", "sourcePosition", "stackTrace")


def normalised(exported: Any) -> Any:
    """A state without what differs between two equal runs: identifiers, times, source lines."""
    if isinstance(exported, dict):
        left = {key: value for key, value in exported.items() if key not in _VARYING}
        if "magic" in left:
            left["time"] = "then"
        return {key: normalised(value) for key, value in left.items()}
    if isinstance(exported, list):
        return [normalised(each) for each in exported]
    return _UUID.sub("some-id", exported) if isinstance(exported, str) else exported


def state(cli: Cli) -> Any:
    """The stack's state, in plain text and comparable."""
    return normalised(cli.json("stack", "export", "--show-secrets"))


def names(cli: Cli) -> list[str]:
    """The names of the resources that are no providers, sorted."""
    found = cli.json("stack", "export")["deployment"].get("resources", [])
    kept = [each["urn"] for each in found if not each["type"].startswith("pulumi:")]
    return sorted(urn.rpartition("::")[2] for urn in kept)


def things(**values: str) -> tuple[str, str]:
    """The argument that tells the program which things there are."""
    return "--config", f"things={json.dumps(values)}"
