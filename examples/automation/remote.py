"""Pulumi's Automation API against Slipway: deploys `examples/python`, and prints its outputs.

    export PULUMI_BACKEND_URL=http://127.0.0.1:8080 PULUMI_ACCESS_TOKEN=...  # `make up` prints both
    python examples/automation/remote.py  # with `destroy` behind it: the end

The program runs on Slipway, which fetches it with git; only what it prints comes here.
"""

import subprocess
import sys
from pathlib import Path

from pulumi import automation as auto

# The program is one folder of a repository, at one commit. A server on this machine may fetch from
# a path; anything else wants an https:// or ssh:// address here, and auth=auto.RemoteGitAuth(...)
# for a private one.
REPOSITORY = Path(__file__).resolve().parent.parent.parent
COMMIT = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, text=True).strip()

user = auto.LocalWorkspace().who_am_i().user

stack = auto.create_or_select_remote_stack_git_source(
    f"{user}/hello-python/automation",
    url=str(REPOSITORY),
    commit_hash=COMMIT,
    project_path="examples/python",
    opts=auto.RemoteWorkspaceOptions(
        env_vars={
            "REGION": "eu-west-1",
            "API_KEY": auto.Secret("sealed on arrival, and redacted in what is printed"),
        },
        pre_run_commands=["echo Deploying to $REGION"],
    ),
)

if sys.argv[1:] == ["destroy"]:
    stack.destroy(on_output=print)
else:
    done = stack.up(on_output=print)
    for name, output in done.outputs.items():
        print(f"{name}: {'[secret]' if output.secret else output.value}")
