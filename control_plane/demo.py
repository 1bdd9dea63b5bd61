"""The demonstration of `slipway up --demo`: deploys the Python example through the REST API.

It is a client like any other: it speaks HTTP with an access token and touches no other part.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

PROJECT = "hello-python"
STACK = "dev"
POLL_SECONDS = 0.2


class DemoError(RuntimeError):
    """The demonstration could not be carried out; the text says why."""


class Demo:
    """One deployment of the example, watched from its submission to its outputs."""

    def __init__(self, url: str, token: str, organization: str, data_dir: Path) -> None:
        self.organization = organization
        self.source = data_dir / "demo" / "program"
        self.http = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"token {token}"}, timeout=30, trust_env=False
        )

    @property
    def stack_path(self) -> str:
        """The stack's address in the API."""
        return f"/api/stacks/{self.organization}/{PROJECT}/{STACK}"

    async def run(self, write: Callable[[str], None]) -> bool:
        """Submit, stream the log, and tell whether the deployment succeeded."""
        async with self.http:
            await asyncio.to_thread(_prepare_repository, self.source)
            await self._create_stack()
            submitted = await self._submit()
            write(f"Deployment #{submitted['version']}: {submitted['consoleUrl']}\n")
            async for text in self._log(submitted["id"]):
                write(text)
            deployment = await self._json("GET", f"{self.stack_path}/deployments/{submitted['id']}")
            if deployment["status"] == "succeeded":
                write("\nOutputs of the stack:\n")
                for line in await self._outputs():
                    write(f"    {line}\n")
                return True
            write(f"\nThe deployment {deployment['status']}: {deployment.get('message', '')}\n")
            return False

    async def _json(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.http.request(method, path, **options)
        if answer.is_error:
            raise DemoError(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    async def _create_stack(self) -> None:
        body = {"stackName": STACK}
        answer = await self.http.post(f"/api/stacks/{self.organization}/{PROJECT}", json=body)
        if answer.is_error and answer.status_code != 409:
            raise DemoError(f"The stack could not be created: {answer.text}")

    async def _submit(self) -> dict[str, Any]:
        request = {
            "operation": "update",
            "sourceContext": {"git": {"repoUrl": str(self.source), "branch": "main"}},
            "operationContext": {"environmentVariables": {"GREETED_BY": "slipway up --demo"}},
        }
        answer = await self._json("POST", f"{self.stack_path}/deployments", json=request)
        return dict(answer)

    async def _log(self, deployment_id: str) -> AsyncIterator[str]:
        token = ""
        while True:
            path = f"{self.stack_path}/deployments/{deployment_id}/logs"
            page = await self._json("GET", path, params={"continuationToken": token})
            for line in page["lines"]:
                yield f"\n== {line['header']} ==\n" if line.get("header") else line.get("line", "")
            following = page.get("nextToken") or ""
            if not following:
                return
            if following == token:
                await asyncio.sleep(POLL_SECONDS)
            token = following

    async def _outputs(self) -> list[str]:
        exported = await self._json("GET", f"{self.stack_path}/export")
        resources = exported["deployment"].get("resources", [])
        outputs: dict[str, Any] = next(
            (r.get("outputs", {}) for r in resources if r["type"] == "pulumi:pulumi:Stack"), {}
        )
        return [f"{name}: {_shown(value)}" for name, value in sorted(outputs.items())]


def _shown(value: Any) -> str:
    is_secret = isinstance(value, dict) and "4dabf18193072939515e22adb298388d" in value
    return "[secret]" if is_secret else str(value)


def example_dir(name: str) -> Path:
    """Where an example is: in the checkout, or beside an installed wheel; raises DemoError."""
    here = Path(__file__).resolve().parent.parent / "examples" / name
    installed = Path(sys.prefix) / "share" / "slipway" / "examples" / name
    for place in (here, installed):
        if (place / "Pulumi.yaml").exists():
            return place
    raise DemoError(f"The example '{name}' is neither at {here} nor at {installed}.")


def _prepare_repository(target: Path) -> None:
    """Put the example into a Git repository of its own, as a user's program would be."""
    source = example_dir("python")
    target.mkdir(parents=True, exist_ok=True)
    for name in (path for path in target.iterdir() if path.name != ".git"):
        shutil.rmtree(name) if name.is_dir() else name.unlink()
    shutil.copytree(
        source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("venv", "__pycache__")
    )
    if not (target / ".git").exists():
        _git(target, "init", "--quiet", "--initial-branch=main")
    _git(target, "add", "--all")
    if _git(target, "status", "--porcelain"):
        _git(target, "commit", "--quiet", "--message", "The Python example")


def _git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Slipway", "-c", "user.email=demo@slipway.invalid"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise DemoError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout
