"""Pulumi Service provider: settings, tags, access tokens and stacks, by its client's requests.

The requests are those of `provider/pkg/pulumiapi` in `pulumi/pulumi-pulumiservice`, with the
headers of its `Client.createRequest`. Answers are read as Go reads them into its structs: keys in
any case, unknown ones passed over, a value of another type an error. Its errors are told apart by
the body's `code` alone (`GetErrorStatusCode`).
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from control_plane.app import open_world
from control_plane.services import identity, pools
from runner_actors.contract import Registration
from tests.e2e.clients.conftest import RecordedServer
from tests.support.app import TOKEN
from tests.support.queue import POOL_TOKEN
from tests.support.state import document, resource

CLIENT_VERSION = "pulumi-pulumiservice 1.3.0"
T = TypeVar("T")


def matched(field: str) -> str:
    """A field's key in any case, which is the lower one here."""
    return field.replace("_", "")


class SecretValue(msgspec.Struct):
    """A secret, as `SecretValue.UnmarshalJSON` reads an object; its ciphertext is `[]byte`."""

    secret: str = ""
    ciphertext: bytes = b""


class GitAuth(msgspec.Struct, rename=matched):
    """`GitAuthConfig`."""

    access_token: SecretValue | None = None


class Git(msgspec.Struct, rename=matched):
    """`SourceContextGit`."""

    repo_url: str = ""
    branch: str = ""
    repo_dir: str = ""
    commit: str = ""
    git_auth: GitAuth | None = None


class Source(msgspec.Struct):
    """`SourceContext`."""

    git: Git | None = None


class Options(msgspec.Struct, rename=matched):
    """`OperationContextOptions`."""

    skip_install_dependencies: bool = False
    skip_intermediate_deployments: bool = False
    shell: str = ""
    delete_after_destroy: bool = False


class Operation(msgspec.Struct, rename=matched):
    """`OperationContext`."""

    pre_run_commands: list[str] | None = None
    environment_variables: dict[str, SecretValue | str] | None = None
    options: Options | None = None


class GitHub(msgspec.Struct, rename=matched):
    """`DeploymentSettingsGitHub`."""

    repository: str = ""
    deploy_commits: bool = False
    preview_pull_requests: bool = False
    pull_request_template: bool = False
    deploy_pull_request: int | None = None
    paths: list[str] | None = None


class Image(msgspec.Struct, rename=matched):
    """`DockerImage` with credentials; without, it is its reference as text, both ways."""

    reference: str = ""


class Executor(msgspec.Struct, rename=matched):
    """`ExecutorContext`."""

    executor_image: Image | str | None = None


class Cache(msgspec.Struct):
    """`CacheOptions`."""

    enable: bool = False


class Settings(msgspec.Struct, rename=matched):
    """`DeploymentSettings`."""

    version: int = 0
    tag: str = ""
    executor_context: Executor | None = None
    source_context: Source | None = None
    github: GitHub | None = None
    operation_context: Operation | None = None
    source: str | None = None
    agent_pool_id: str | None = None
    cache_options: Cache | None = None


class Tagged(msgspec.Struct):
    """`stack`: of a stack the provider reads the tags alone."""

    tags: dict[str, str] | None = None


class Token(msgspec.Struct, rename=matched):
    """`accessTokenResponse`."""

    id: str
    name: str = ""
    description: str = ""
    last_used: int = 0
    admin: bool = False


class Tokens(msgspec.Struct):
    """`listTokenResponse`."""

    tokens: list[Token]


class NewToken(msgspec.Struct, rename=matched):
    """`createTokenResponse`."""

    id: str
    token_value: str


class Failure(msgspec.Struct):
    """`ErrorResponse`."""

    code: int
    message: str


def lowered(value: Any) -> Any:
    """The keys that a struct is matched by; a map's own keys are given back by `Provider`."""
    if isinstance(value, dict):
        return {key.lower(): lowered(each) for key, each in value.items()}
    return [lowered(each) for each in value] if isinstance(value, list) else value


class Provider:
    """The provider's client."""

    def __init__(self, url: str, token: str = TOKEN) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/", timeout=60)
        self._http.headers = httpx.Headers(
            {
                "User-Agent": "Go-http-client/1.1",
                "X-Pulumi-Source": "provider",
                "Accept": "application/vnd.pulumi+9",
                "Content-Type": "application/json",
                "Accept-Encoding": "gzip",
                "Authorization": f"token {token}",
            }
        )

    def do(self, verb: str, path: str, body: Any = None, **query: str) -> httpx.Response:
        """`Client.do`, and `doWithQuery`."""
        content = None if body is None else msgspec.json.encode(body)
        return self._http.request(verb, path, content=content, params=query or None)

    def get(self, path: str, shape: type[T]) -> T | None:
        """What a GET reads; None when its error says 404."""
        answer = self.do("GET", path)
        if not answer.is_success:
            assert failure(answer) == 404, answer.text
            return None
        return read(answer, shape)


def read(answer: httpx.Response, shape: type[T]) -> T:
    """An answer as Go decodes it."""
    assert answer.is_success, answer.text
    found = answer.json()
    plain = msgspec.convert(lowered(found), shape)
    if isinstance(plain, Tagged):
        plain.tags = found["tags"]
    return plain


def failure(answer: httpx.Response) -> int:
    """The code by which the provider tells an error from another."""
    found = msgspec.json.decode(answer.content, type=Failure)
    assert found.message
    return found.code


@pytest.fixture
def provider(recorded_server: RecordedServer) -> Provider:
    return Provider(recorded_server.url)


def add_pool(server: RecordedServer) -> None:
    """A runner pool whose gateway has come up, so that secrets can be sealed to it."""

    async def run() -> None:
        world = open_world(server.world.config)
        await pools.ensure_default(world, POOL_TOKEN)
        pool = await identity.authenticate_pool(world, POOL_TOKEN)
        key = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw())
        gateway = Registration(
            gateway_id="gateway", hostname="node", public_key=key.decode(), slipway_version="0"
        )
        await pools.register(world, pool, gateway)
        await world.database.close()

    asyncio.run(run())


def stack_of(provider: Provider, name: str) -> str:
    answer = provider.do("POST", "stacks/ada/provided", {"stackName": name})
    assert answer.is_success, answer.text
    return f"stacks/ada/provided/{name}"


def test_a_stack_is_created_read_and_deleted(provider: Provider) -> None:
    path = "stacks/ada/provided/life"
    assert provider.get(path, Tagged) is None
    assert stack_of(provider, "life") == path
    assert provider.get(path, Tagged) is not None
    again = provider.do("POST", "stacks/ada/provided", {"stackName": "life"})
    assert failure(again) == 409

    full = provider.do("POST", f"{path}/import", document(resource("a")))
    assert full.is_success
    assert failure(provider.do("DELETE", path)) == 400, "it has resources"
    assert provider.do("DELETE", path, forceDestroy="true").status_code == 204
    assert provider.get(path, Tagged) is None
    assert failure(provider.do("DELETE", path)) == 404


def test_tags_come_and_go_one_by_one(provider: Provider) -> None:
    path = stack_of(provider, "tagged")

    def tags() -> dict[str, str]:
        found = provider.get(path, Tagged)
        assert found is not None
        return found.tags or {}

    before = tags()
    assert provider.do("POST", f"{path}/tags", {"name": "Team", "value": "blue"}).is_success
    assert tags() == {**before, "Team": "blue"}
    assert failure(provider.do("POST", f"{path}/tags", {"name": "Team", "value": "red"})) == 400
    assert provider.do("DELETE", f"{path}/tags/Team").is_success
    assert tags() == before
    assert failure(provider.do("DELETE", f"{path}/tags/Team")) == 404


def test_an_access_token_lives_and_dies(
    provider: Provider, recorded_server: RecordedServer
) -> None:
    made = read(provider.do("POST", "user/tokens", {"description": "for ci"}), NewToken)
    listed = provider.get("user/tokens", Tokens)
    assert listed is not None
    [mine] = [each for each in listed.tokens if each.id == made.id]
    assert (mine.description, mine.last_used, mine.admin) == ("for ci", 0, False)

    theirs = Provider(recorded_server.url, made.token_value)
    assert theirs.get("user/tokens", Tokens) is not None
    assert provider.do("DELETE", f"user/tokens/{made.id}").is_success
    assert theirs.do("GET", "user/tokens").status_code == 401
    assert failure(provider.do("DELETE", f"user/tokens/{made.id}")) == 404


def test_deployment_settings_are_put_read_and_deleted(
    provider: Provider, recorded_server: RecordedServer
) -> None:
    path = f"{stack_of(provider, 'settings')}/deployments/settings"
    add_pool(recorded_server)
    assert provider.get(path, Settings) is None, "by this it knows that there are none"

    wanted = {
        "executorContext": {"executorImage": "pulumi/pulumi:latest"},
        "sourceContext": {
            "git": {
                "repoUrl": "https://git.example/shop.git",
                "branch": "refs/heads/main",
                "repoDir": "infra",
                "gitAuth": {"accessToken": {"secret": "hunter2"}},
            }
        },
        "gitHub": {
            "repository": "acme/shop",
            "deployCommits": True,
            "previewPullRequests": True,
            "paths": ["infra/**"],
        },
        "operationContext": {
            "preRunCommands": ["echo hello"],
            "environmentVariables": {"PLAIN": "text", "SECRET": {"secret": "hunter3"}},
            "options": {"skipInstallDependencies": True, "shell": "bash"},
        },
        "cacheOptions": {"enable": True},
    }
    answer = provider.do("PUT", path, wanted)
    assert b"hunter" not in answer.content
    made = read(answer, Settings)

    kept = provider.get(path, Settings)
    assert kept == made, "what it writes it reads"
    assert kept.executor_context is not None
    assert kept.executor_context.executor_image == "pulumi/pulumi:latest"
    assert kept.source_context is not None
    git = kept.source_context.git
    assert git is not None
    assert (git.repo_url, git.branch, git.repo_dir) == (
        "https://git.example/shop.git",
        "refs/heads/main",
        "infra",
    )
    assert git.git_auth is not None
    assert git.git_auth.access_token is not None
    assert git.git_auth.access_token.ciphertext
    assert kept.github == GitHub("acme/shop", True, True, paths=["infra/**"])
    assert kept.cache_options == Cache(True)
    assert kept.operation_context is not None
    operation = kept.operation_context
    assert operation.pre_run_commands == ["echo hello"]
    assert operation.options == Options(skip_install_dependencies=True, shell="bash")
    variables = operation.environment_variables
    assert variables is not None
    assert variables["plain"] == "text"
    secret = variables["secret"]
    assert isinstance(secret, SecretValue)

    # A later `pulumi up` sends ciphertexts back as it has read them.
    text = base64.b64encode(secret.ciphertext).decode()
    wanted["operationContext"]["environmentVariables"]["SECRET"] = {"ciphertext": text}  # type: ignore[index]
    again = read(provider.do("PUT", path, wanted), Settings)
    assert again.operation_context is not None
    assert (again.operation_context.environment_variables or {})["secret"] == secret
    assert again.version > made.version

    assert provider.do("DELETE", path).is_success
    assert provider.get(path, Settings) is None


def test_empty_parts_of_settings_are_taken(provider: Provider) -> None:
    path = f"{stack_of(provider, 'empty')}/deployments/settings"
    empty = {
        "executorContext": {},
        "sourceContext": {},
        "gitHub": {},
        "operationContext": {},
        "cacheOptions": {"enable": False},
    }
    made = read(provider.do("PUT", path, empty), Settings)
    assert provider.get(path, Settings) == made
    replaced = read(provider.do("PUT", path, {"sourceContext": {"git": {"branch": "a"}}}), Settings)
    assert replaced.source_context == Source(Git(branch="a"))
    assert replaced.cache_options is None, "what is not given is not kept"


def test_what_is_not_built_is_an_error_and_never_taken_for_absent(provider: Provider) -> None:
    """Else the provider would forget a webhook, a schedule or a team that it is asked about."""
    path = stack_of(provider, "unbuilt")
    for verb, address in (
        ("GET", f"{path}/hooks/a"),
        ("POST", f"{path}/hooks"),
        ("GET", f"{path}/deployments/schedules/a"),
        ("POST", f"{path}/deployments/schedules"),
        ("GET", "orgs/ada/teams/a"),
        ("POST", "orgs/ada/teams/pulumi"),
        ("GET", "orgs/ada/agent-pools/a"),
        ("GET", "orgs/ada/oidc/issuers/a"),
        ("GET", "esc/environments/ada/p/e"),
    ):
        answer = provider.do(verb, address, {} if verb == "POST" else None)
        assert failure(answer) == 501, (verb, address, answer.text)
