"""The control plane as a gateway sees it, on a real port: grants, and what became of them."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

POOL_TOKEN = "slp-test-token"


class PoolServer:
    """Deployments are granted once, and live until they are concluded, released or ended."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.queue: list[dict[str, Any]] = []
        self.live: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, str] = {}
        self.holds: list[dict[str, Any]] = []
        self.releases: list[dict[str, Any]] = []
        self.registrations: list[dict[str, Any]] = []
        self.polls: list[dict[str, Any]] = []
        self.cancelled: set[str] = set()
        self.leads = True
        self.lease_seconds = 30.0
        self.unavailable = False
        self.refuses = False
        self.given_at: dict[str, float] = {}

    # The test's side.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def grant(
        self,
        stack: str = "acme/web/dev",
        environment: dict[str, Any] | None = None,
        slot_limit: int = 10,
        deployment_id: str = "",
        generation: int = 1,
    ) -> str:
        """Queue a deployment; gives its id."""
        organization, project, name = stack.split("/")
        grant = {
            "deploymentId": deployment_id or uuid.uuid4().hex,
            "generation": generation,
            "stackId": stack,
            "organization": organization,
            "project": project,
            "stack": name,
            "version": 1,
            "operation": "update",
            "slotLimit": slot_limit,
            "leaseSeconds": self.lease_seconds,
            "timeoutSeconds": 60,
            "graceSeconds": 5,
            "sealedRunnerToken": "",
            "sealedCliToken": "",
            "apiUrl": self.url,
            "consoleUrl": self.url,
            "environment": environment or {},
            "logPrefix": "logs",
            "slipwayVersion": "0",
        }
        with self.lock:
            self.queue.append(grant)
            self.lock.notify_all()
        return str(grant["deploymentId"])

    def make_live(self, stack: str = "acme/web/dev", **facts: Any) -> str:
        """A deployment that was granted in the past, to a gateway that is gone."""
        deployment_id = self.grant(stack, **facts)
        with self.lock:
            self._give()
        return deployment_id

    def end(self, deployment_id: str, how: str = "lease_over") -> None:
        """The lease ends, whatever the runner thinks."""
        with self.lock:
            self._end(deployment_id, how)

    def outcome(self, deployment_id: str) -> str | None:
        with self.lock:
            return self.ended.get(deployment_id)

    def waiting_for(self, deployment_id: str) -> list[str]:
        with self.lock:
            return [hold["waitingFor"] for hold in self.holds if hold["id"] == deployment_id]

    # The gateway's side.

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.unavailable:
            return 503, {"code": 503, "message": "not now"}
        if self.refuses:
            return 401, {"code": 401, "message": "the token is not known"}
        match path.removeprefix("/api/runner/").split("/"):
            case ["register"]:
                self.registrations.append(body)
                return 200, {"poolId": "pool", "poolName": "default"}
            case ["poll"]:
                return 200, self._poll(body)
            case ["grants"]:
                with self.lock:
                    return 200, {"grants": [_live(grant) for grant in self.live.values()]}
            case ["deployments", deployment_id, verb]:
                with self.lock:
                    return self._deployment(deployment_id, verb, body)
        return 404, {"code": 404, "message": path}

    def _poll(self, body: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + body.get("waitSeconds", 20.0)
        with self.lock:
            self.polls.append(body)
            # Only the latest poll is listened to: the gateway of an older one is gone.
            latest = len(self.polls)
            self.lock.notify_all()

            def waits() -> bool:
                left = deadline - time.monotonic()
                wanted = body.get("ready", True) and self.leads and not self.queue
                return wanted and left > 0 and latest == len(self.polls)

            while waits():
                self.lock.wait(max(0.0, deadline - time.monotonic()))
            gives = body.get("ready", True) and self.leads and latest == len(self.polls)
            return {"leader": self.leads, "grants": self._give() if gives else []}

    def _give(self) -> list[dict[str, Any]]:
        grants, self.queue = self.queue, []
        for grant in grants:
            self.live[grant["deploymentId"]] = grant
            self.given_at[grant["deploymentId"]] = time.time()
        return grants

    def _deployment(
        self, deployment_id: str, verb: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        grant = self.live.get(deployment_id)
        if grant is None or grant["generation"] != body["generation"]:
            return 409, {"code": 409, "message": "The lease has ended."}
        if verb == "hold":
            self.holds.append({"id": deployment_id, "waitingFor": body.get("waitingFor", "")})
            cancel = {"cancel": "graceful", "cancelledBy": "ada"}
            extra = cancel if deployment_id in self.cancelled else {}
            return 200, {"leaseSeconds": self.lease_seconds, **extra}
        if verb == "release":
            self.releases.append({"id": deployment_id, **body})
            self._end(deployment_id, f"released: {body.get('reason', 'runner_lost')}")
            return 200, {"status": "failed"}
        self._end(deployment_id, "concluded")
        return 200, {"leaseSeconds": self.lease_seconds, "acknowledged": 1}

    def _end(self, deployment_id: str, how: str) -> None:
        self.live.pop(deployment_id, None)
        self.ended[deployment_id] = how


def _live(grant: dict[str, Any]) -> dict[str, Any]:
    names = ("deploymentId", "generation", "organization", "project", "stack", "slotLimit")
    lease = {"status": "accepted", "leaseSeconds": grant["leaseSeconds"]}
    return {name: grant[name] for name in names} | lease


@contextlib.contextmanager
def pool_server() -> Iterator[PoolServer]:
    """Serve on a free port."""
    server = PoolServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def _serve(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length) or b"{}")
            status, answer = server.answer(self.command, self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            with contextlib.suppress(OSError):
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with server.lock:
            server.leads = False
            server.lock.notify_all()
        http.shutdown()
        http.server_close()
