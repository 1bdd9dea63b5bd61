"""A state of thousands of resources, as the bench's busiest stack has it."""

from __future__ import annotations

import json
from typing import Any

from control_plane.domain.names import StackName

CHILDREN = 20
"""Of each component, itself included."""
PROVIDER_ID = "5e0ec9cb-9e3c-4c1c-a0b3-0c1f4c1b9a55"


def document(name: StackName, count: int) -> bytes:
    """A state of that many resources: components with what they hold, and a provider for all."""
    root = {
        "urn": f"urn:pulumi:{name.stack}::{name.project}::pulumi:pulumi:Stack::{name.project}",
        "custom": False,
        "type": "pulumi:pulumi:Stack",
    }
    provider = {
        "urn": f"{_stem(name.project, name.stack)}::pulumi:providers:aws::default_6_66_2",
        "custom": True,
        "id": PROVIDER_ID,
        "type": "pulumi:providers:aws",
    }
    resources = [resource(name.project, name.stack, number) for number in range(count - 2)]
    manifest = {"time": "2026-01-02T03:04:05Z", "magic": "", "version": "v3.200.0"}
    deployment = {"manifest": manifest, "resources": [root, provider, *resources]}
    return json.dumps({"version": 3, "deployment": deployment}).encode()


def resource(project: str, stack: str, number: int) -> dict[str, Any]:
    """One of a state's resources, by its number."""
    stem = _stem(project, stack)
    component = number - number % CHILDREN
    if number == component:
        return {
            "urn": urn(project, stack, number),
            "custom": False,
            "type": "platform:index:Service",
            "parent": f"{stem}::pulumi:pulumi:Stack::{project}",
            "provider": "",
        }
    properties = {
        "ami": "ami-0abcdef1234567890",
        "instanceType": "t3.micro",
        "subnetId": f"subnet-{number:08x}",
        "tags": {"Name": f"web-{number}", "team": "platform", "note": "x" * 200},
        "userData": "#!/bin/sh\n" + "echo hello\n" * 10,
    }
    return {
        "urn": urn(project, stack, number),
        "custom": True,
        "id": f"i-{number:017x}",
        "type": "aws:ec2/instance:Instance",
        "inputs": properties,
        "outputs": properties | {"arn": f"arn:aws:ec2:eu-west-1:123456789012:instance/{number}"},
        "parent": urn(project, stack, component),
        "provider": f"{stem}::pulumi:providers:aws::default_6_66_2::{PROVIDER_ID}",
        "dependencies": [urn(project, stack, component)],
        "propertyDependencies": {"subnetId": [urn(project, stack, component)]},
        "created": "2026-01-02T03:04:05Z",
        "modified": "2026-01-02T03:04:05Z",
    }


def urn(project: str, stack: str, number: int) -> str:
    """The name of one of a state's resources, by its number."""
    if number % CHILDREN == 0:
        return f"{_stem(project, stack)}::platform:index:Service::service-{number}"
    kind = "platform:index:Service$aws:ec2/instance:Instance"
    return f"{_stem(project, stack)}::{kind}::web-{number}"


def _stem(project: str, stack: str) -> str:
    return f"urn:pulumi:{stack}::{project}"
