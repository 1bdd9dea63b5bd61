"""Real Git servers on loopback: `git http-backend` behind a small web server, and sshd."""

from __future__ import annotations

import base64
import contextlib
import getpass
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.slipway import free_port
from tests.support.waiting import wait_for


@contextlib.contextmanager
def http_server(root: Path, user: str = "", password: str = "") -> Iterator[str]:
    """Serve the repositories under a directory by smart HTTP; gives the base URL.

    With a user or a password, every request must carry both.
    """
    expected = base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            if (user or password) and self.headers.get("Authorization") != f"Basic {expected}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            backend(self, root)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def backend(handler: BaseHTTPRequestHandler, root: Path, path: str = "") -> None:
    """Answer a request by `git http-backend`; `path` is another one than the request's."""
    asked, _, query = handler.path.partition("?")
    body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path or asked,
        "QUERY_STRING": query,
        "REQUEST_METHOD": handler.command,
        "CONTENT_TYPE": handler.headers.get("Content-Type") or "",
        "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding") or "",
        "GIT_PROTOCOL": handler.headers.get("Git-Protocol") or "",
        "HOME": str(root),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    done = subprocess.run(
        ["git", "http-backend"],
        input=body,
        capture_output=True,
        env=environment,
        check=False,
    )
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    fields = [line.split(": ", 1) for line in head.decode().splitlines()]
    status = next((value for name, value in fields if name == "Status"), "200 OK")
    handler.send_response(int(status.split()[0]))
    for name, value in fields:
        if name != "Status":
            handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


class SshServer:
    """sshd for one key; `url(path)` is the address of a repository."""

    def __init__(self, port: int, private_key: str) -> None:
        self.port = port
        self.private_key = private_key

    def url(self, repository: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{repository}"


@contextlib.contextmanager
def ssh_server(directory: Path, passphrase: str = "") -> Iterator[SshServer]:
    """Run sshd with host and user keys of its own in the directory."""
    directory.mkdir(parents=True)
    _key(directory / "host", "")
    _key(directory / "user", passphrase)
    port = free_port()
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory / 'host'}\n"
        f"AuthorizedKeysFile {directory / 'user.pub'}\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin yes\nPidFile {directory / 'pid'}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    binary = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert binary, "make test installs openssh-server"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([binary, "-D", "-e", "-f", str(config)], stderr=log)
    try:
        listening = f"Server listening on 127.0.0.1 port {port}"
        wait_for(lambda: listening in (directory / "log").read_text(), "sshd listens", 10)
        yield SshServer(port, (directory / "user").read_text())
    finally:
        process.terminate()
        process.wait()


def _key(path: Path, passphrase: str) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True)
