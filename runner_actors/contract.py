"""The wire between the control plane and a runner cluster: the only file that both halves import.

Everything here travels as JSON over HTTPS, opened by the runner side; nothing is ever pickled.
The routes, all under `/api/runner`:

====================================  =============  =====================================
route                                 authorization  body -> answer
====================================  =============  =====================================
POST /register                        pool token     Registration -> Registered
POST /poll                            pool token     Poll -> Grants (held until there is work)
GET  /grants                          pool token     -> LiveGrants
POST /deployments/{id}/hold           pool token     Hold -> LeaseState (while being placed)
POST /deployments/{id}/release        pool token     Release -> Released
POST /deployments/{id}/lease          runner token   LeaseRenewal -> LeaseState (held, see there)
POST /deployments/{id}/events         runner token   Events -> LeaseState
POST /deployments/{id}/source-token   runner token   SourceTokenWanted -> SourceToken
====================================  =============  =====================================

The authorization header is `token <value>` for both kinds. Every error body is `{code, message}`;
409 on a deployment route means that the lease has ended: stop, and write nothing more.
"""

from __future__ import annotations

import base64
from typing import Literal

import msgspec
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import x25519

CONTRACT_VERSION = 1
"""Raised when an older runner could not serve a newer control plane, or the other way round."""

Operation = Literal["update", "preview", "refresh", "destroy", "detect-drift", "remediate-drift"]
CancelMode = Literal["graceful", "now"]
Trust = Literal["branch", "pull_request", "fork"]
"""Whose code it is. A pull request's deployment never writes what a branch deployment reads, and
one of a fork's code never what a pull request of the repository's own reads."""

SEAL_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def seal_context(stack_id: str, name: str) -> bytes:
    """The HPKE info that binds a sealed value to one name of one stack.

    The stack's immutable id is used, so that a renamed or moved stack keeps its secrets while a
    ciphertext copied to another stack cannot be opened there.
    """
    return b"slipway/sealed/1\x00" + stack_id.encode() + b"\x00" + name.encode()


def seal(plaintext: bytes, public_key: bytes, context: bytes) -> str:
    """Seal a value to a pool's raw X25519 public key (32 bytes); the answer is padded base64."""
    key = x25519.X25519PublicKey.from_public_bytes(public_key)
    return base64.b64encode(SEAL_SUITE.encrypt(plaintext, key, context)).decode()


ANY_NAME = "*"
"""A value sealed before its name was known (settings/encrypt) is bound to its stack alone."""


class Contract(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """Base of all messages: camelCase on the wire, unknown fields ignored, defaults left out."""


class Value(Contract, kw_only=True):
    """A setting that is either plain text or sealed to the pool: exactly one of the two is set."""

    plain: str | None = None
    sealed: str | None = None


class GitAuth(Contract, kw_only=True):
    """Credentials for a clone; several may be given, ssh wins over token over basic."""

    access_token: Value | None = None
    ssh_private_key: Value | None = None
    ssh_passphrase: Value | None = None
    user_name: Value | None = None
    password: Value | None = None


class GitSource(Contract, kw_only=True):
    """Where the program is: a repository, and a branch or a commit in it (both empty: its HEAD)."""

    repo_url: str
    branch: str = ""
    commit: str = ""
    repo_dir: str = ""
    auth: GitAuth | None = None
    token_wanted: bool = False
    """Whether the control plane has a token for the repository: asked for when it is needed."""
    branch_name: str = ""
    """What the program is told of its branch, where that is another than the one to fetch."""


class Grant(Contract, kw_only=True):
    """A leased deployment handed to a pool. Secrets and tokens in it are sealed to the pool's key.

    The sealing names: environment variables `env/<NAME>`, git credentials `git/<field>`,
    tokens `lease/<deployment id>/<generation>/runner` and `…/cli`.
    """

    deployment_id: str
    generation: int
    """Grows with each grant of the same deployment; an older generation is refused everywhere."""
    stack_id: str
    organization: str
    project: str
    stack: str
    version: int
    operation: Operation
    slot_limit: int
    """How many quota slots the organization has: its placement groups are `<org>/<k>`, k below."""
    lease_seconds: float
    timeout_seconds: float
    grace_seconds: float
    """How long a graceful stop may take before the process tree is killed."""
    sealed_runner_token: str
    sealed_cli_token: str
    api_url: str
    console_url: str
    source: GitSource | None = None
    environment: dict[str, Value] = {}
    pre_run_commands: list[str] = []
    skip_install_dependencies: bool = False
    shell: str = ""
    delete_after_destroy: bool = False
    targets: list[str] = []
    """URNs that the operation is about; empty: all resources."""
    target_dependents: bool = False
    """Whether what depends on the targets may be changed too."""
    refresh: bool = False
    """Whether the operation reads the real state of the resources first."""
    message: str = ""
    """What the update says of itself in the stack's history; empty: the commit's first line."""
    trust: Trust = "branch"
    trigger: str = "api"
    requested_by: str = ""
    commit_message: str = ""
    caches_cleared_at_ms: int = 0
    """Unix milliseconds of the last wish for a clean build; 0: there was none. A clone that was
    made before another such wish is thrown away, with the dependencies in it."""
    template_stack_id: str = ""
    """Of a review stack: the one that it was made after, for which secrets may be sealed."""
    template_stack: str = ""
    """Of a review stack: the name of that stack, whose configuration it begins with."""
    log_prefix: str
    """Key prefix of this deployment's log segments in the log store, without a trailing slash."""
    slipway_version: str

    @property
    def stack_path(self) -> str:
        """`<org>/<project>/<stack>`: the stack's actor is named so."""
        return f"{self.organization}/{self.project}/{self.stack}"


class Registration(Contract, kw_only=True):
    """What a gateway says of itself when it comes up."""

    gateway_id: str
    hostname: str
    public_key: str
    """The pool's raw X25519 public key, padded base64: what secrets are sealed to."""
    slipway_version: str
    contract_version: int = CONTRACT_VERSION


class Registered(Contract, kw_only=True):
    """The answer to a registration."""

    pool_id: str
    pool_name: str
    organization: str = ""


class Poll(Contract, kw_only=True):
    """Ask for work. The answer is held back until a grant exists or `wait_seconds` are over."""

    gateway_id: str
    grants_max: int = 10
    wait_seconds: float = 20.0
    ready: bool = True
    """False while Ray cannot be reached: keeps the gateway's leadership without taking work."""


class Grants(Contract, kw_only=True):
    """The answer to a poll. A gateway that does not lead gets no grants and polls again."""

    leader: bool
    grants: list[Grant] = []


class LiveGrant(Contract, kw_only=True):
    """One deployment that the pool holds, as the database has it: what a new gateway adopts."""

    deployment_id: str
    generation: int
    organization: str
    project: str
    stack: str
    slot_limit: int
    status: Literal["accepted", "running"]
    lease_seconds: float


class LiveGrants(Contract, kw_only=True):
    """All live deployments of the pool."""

    grants: list[LiveGrant] = []


class Hold(Contract, kw_only=True):
    """Keep a grant's lease alive while the gateway looks for a place for it."""

    generation: int
    waiting_for: str = ""
    """Why it has no place yet, shown to users; empty when it has one."""


class Release(Contract, kw_only=True):
    """Give a grant back whose process tree is known to be gone, or never was.

    The control plane decides what follows: queued again when the engine had not started,
    failed(runner_lost) when it had.
    """

    generation: int
    reason: str = "runner_lost"
    message: str = ""


class Released(Contract, kw_only=True):
    """What became of a released grant: its status now."""

    status: str


class LeaseRenewal(Contract, kw_only=True):
    """Renew the lease; held open up to `wait_seconds` so that a cancel reaches the actor at once.

    `seen_cancel` is the cancel mode that the actor already acts on: the call returns early only
    for a stronger one.
    """

    generation: int
    wait_seconds: float = 0.0
    seen_cancel: CancelMode | None = None


class LeaseState(Contract, kw_only=True):
    """The lease after a renewal or a batch of events: counts from when the call was sent."""

    lease_seconds: float
    cancel: CancelMode | None = None
    cancelled_by: str = ""
    acknowledged: int = 0
    """The highest event number such that it and all before it are recorded."""


class SourceTokenWanted(Contract, kw_only=True):
    """Ask for the token that the source is fetched with."""

    generation: int


class SourceToken(Contract, kw_only=True):
    """A token for reading the source's repository and nothing else, good for about an hour.

    It is sealed to the pool's key as `lease/<deployment id>/<generation>/source`.
    """

    sealed_token: str


class Event(Contract, tag_field="kind", kw_only=True):
    """Something that happened, numbered from 1 without gaps; recorded once however often sent."""

    number: int
    at_ms: int
    """Unix time in milliseconds, by the runner's clock."""


class StepStarted(Event, tag="step-started", kw_only=True):
    """A step began. Steps are counted from 0 within the deployment."""

    step: int
    name: str


class StepEnded(Event, tag="step-ended", kw_only=True):
    """A step is over."""

    step: int
    succeeded: bool
    message: str = ""


class SourceResolved(Event, tag="source-resolved", kw_only=True):
    """Which commit is being deployed, as it was found in the repository."""

    commit: str
    branch: str = ""
    message: str = ""
    author: str = ""


class LogSegment(Event, tag="log-segment", kw_only=True):
    """A numbered object in the log store now holds these bytes of the deployment's output.

    Segments are numbered from 0 and follow each other without gaps; a segment belongs to one step.
    """

    segment: int
    step: int
    offset: int
    """Of the segment's first byte in the deployment's whole output."""
    length: int
    line_breaks: int
    marks: list[tuple[int, int]] = []
    """(offset in the segment, Unix milliseconds): when the bytes from there on were written."""


class LogEnded(Event, tag="log-ended", kw_only=True):
    """The end marker: the log is complete, and this long."""

    length: int
    segments: int


class Concluded(Event, tag="concluded", kw_only=True):
    """How the deployment ended; always the last event. The lease ends with it."""

    succeeded: bool
    reason: str
    message: str = ""
    exit_code: int | None = None


AnyEvent = StepStarted | StepEnded | SourceResolved | LogSegment | LogEnded | Concluded


class Events(Contract, kw_only=True):
    """A batch of events under a lease, in order. Sent again after a failure, it changes nothing."""

    generation: int
    events: list[AnyEvent]


def segment_key(prefix: str, segment: int) -> str:
    """The log store's key of one segment. Sorted keys are in order, and `cat` gives the log."""
    return f"{prefix}/{segment:08d}.log"
