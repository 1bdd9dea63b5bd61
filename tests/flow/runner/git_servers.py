"""Real Git servers: smart HTTP by `git http-backend` behind basic auth, and a real sshd."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.waiting import wait_for

BACKEND = ["git", "http-backend"]
SSHD = "/usr/sbin/sshd"


class HttpGit(ThreadingHTTPServer):
    """Serves the repositories under a directory; asks for credentials if it has some."""

    def __init__(self, root: Path, user: str = "", password: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.wanted = f"Basic {token}" if password else ""
        self.seen: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: HttpGit

    def do_GET(self) -> None:
        given = self.headers.get("authorization")
        self.server.seen.append(given)
        if self.server.wanted and given != self.server.wanted:
            self.send_response(401)
            self.send_header("www-authenticate", 'Basic realm="test"')
            self.send_header("content-length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        environment = os.environ | {
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
        }
        done = subprocess.run(
            BACKEND, input=body, env=environment, capture_output=True, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def http_git(root: Path, user: str = "", password: str = "") -> Iterator[HttpGit]:
    server = HttpGit(root, user, password)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def ssh_git(directory: Path, public_key: str) -> Iterator[str]:
    """An sshd that lets one key in; gives the beginning of its addresses."""
    directory.mkdir()
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "host"], check=True
    )
    (directory / "authorized").write_text(public_key)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
    }
    flags = [f"-o{name}={value}" for name, value in options.items()]
    Path("/run/sshd").mkdir(exist_ok=True)
    with (directory / "log").open("w") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", "/dev/null", *flags], stderr=log)
    try:
        wait_for(lambda: _listens(port), "sshd listens")
        yield f"ssh://{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
