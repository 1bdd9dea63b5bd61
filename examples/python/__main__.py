"""A first program: two resources that live in the stack's state and nowhere else."""

import secrets
import string
import time
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


class GreetingProvider(ResourceProvider):
    """Pretends to be a cloud: it may take its time, and what it makes can be changed in place."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        time.sleep(props["seconds"])
        return CreateResult("greeting", {**props, "text": f"Hello, {props['name']}!"})

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(news).outs)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=olds["name"] != news["name"])


class Greeting(Resource):
    text: pulumi.Output[str]

    def __init__(self, resource_name: str, name: str, seconds: float) -> None:
        props = {"name": name, "seconds": seconds, "text": None}
        super().__init__(GreetingProvider(), resource_name, props)


class PasswordProvider(ResourceProvider):
    """Makes a password once; another size means another password, so a replacement."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        letters = string.ascii_letters + string.digits
        value = "".join(secrets.choice(letters) for _ in range(int(props["size"])))
        return CreateResult("password", {**props, "value": value})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = olds["size"] != news["size"]
        return DiffResult(changes=changed, replaces=["size"] if changed else [])


class Password(Resource):
    value: pulumi.Output[str]

    def __init__(self, resource_name: str, size: int) -> None:
        options = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(PasswordProvider(), resource_name, {"size": size, "value": None}, options)


config = pulumi.Config()
name = config.get("name") or "world"
size = config.get_int("size") or 16

greeting = Greeting("greeting", name, config.get_float("seconds") or 0.0)
password = config.get_secret("password") or Password("password", size).value

pulumi.export("greeting", greeting.text)
pulumi.export("password", password)
pulumi.export("size", pulumi.Output.unsecret(password.apply(len)))
