"""The environment of what a deployment runs.

Three layers, each over the one before: this machine's, without anything that is the runner's own
or looks like a secret; the deployment settings', which may also override `PULUMI_ACCESS_TOKEN`;
and what says where and what this deployment is, which nobody overrides: `PULUMI_BACKEND_URL`,
the `PULUMI_CI_*` identity, and the directories that keep deployments apart.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

from runner_actors.contract import Grant
from runner_actors.workspace import Workspace

_OWN = ("RAY_", "SLIPWAY_", "AWS_", "PYTHON", "PULUMI_", "GIT_", "SSH_", "VIRTUAL_ENV", "CONDA_")
_RAYS = {"OMP_NUM_THREADS"}
"""Set by Ray in its workers, for actors that reserve a part of a CPU: programs have it all."""
_LOOKS_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY", re.I)
_VARIABLE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_PULL_REQUEST_REF = re.compile(r"refs/pull/(\d+)/")


def machine_environment(toolchain_dir: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What a program may see of the runner's own environment."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_OWN) and name not in _RAYS and not _LOOKS_SECRET.search(name)
    }
    kept["PATH"] = os.pathsep.join([toolchain_dir, *_path(environ.get("PATH", os.defpath))])
    if not kept.get("LC_ALL"):
        kept.setdefault("LANG", "C.UTF-8")
    return kept


def _path(path: str) -> list[str]:
    """Without the runner's own virtual environment, which is no place for programs to run in."""
    own = os.path.join(sys.prefix, "bin") if sys.prefix != sys.base_prefix else ""
    return [directory for directory in path.split(os.pathsep) if directory and directory != own]


def program_environment(
    machine: Mapping[str, str],
    grant: Grant,
    workspace: Workspace,
    settings: Mapping[str, str],
    cli_token: str,
    commit: str,
) -> dict[str, str]:
    """The environment of pre-run commands, `pulumi install` and the operation."""
    return {
        **machine,
        **_directories(workspace),
        "PULUMI_ACCESS_TOKEN": cli_token,
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        # Milliseconds that the engine gathers journal entries for. Its own 50 are waited out again
        # and again by steps that follow each other; this control plane is near and batches itself.
        "PULUMI_JOURNALING_BATCH_PERIOD": "1",
        **settings,
        **protected(grant, workspace, commit),
    }


def protected(grant: Grant, workspace: Workspace, commit: str) -> dict[str, str]:
    """The variables that neither settings nor pre-run commands override."""
    branch = grant.source.branch if grant.source else ""
    told = grant.source.branch_name if grant.source else ""
    variables = {
        "PULUMI_BACKEND_URL": grant.api_url,
        "PULUMI_HOME": str(workspace.pulumi_home),
        "PULUMI_CREDENTIALS_PATH": str(workspace.pulumi_home),
        "PULUMI_ENV": str(workspace.pulumi_env),
        "PULUMI_CI_SYSTEM": "Pulumi Deployments",
        "PULUMI_CI_BUILD_ID": grant.deployment_id,
        "PULUMI_CI_BUILD_NUMBER": str(grant.version),
        "PULUMI_CI_BUILD_URL": grant.console_url,
        "PULUMI_CI_ORGANIZATION": grant.organization,
        "PULUMI_CI_PROJECT": grant.project,
        "PULUMI_CI_STACK": grant.stack,
        "PULUMI_CI_OPERATION": grant.operation,
        "PULUMI_CI_BRANCH_NAME": told or branch.removeprefix("refs/heads/"),
    }
    if grant.trust != "branch":
        variables["PULUMI_CI_PULL_REQUEST_SHA"] = commit
        if number := _PULL_REQUEST_REF.match(branch):
            variables["PULUMI_PR_NUMBER"] = number[1]
    return {name: value for name, value in variables.items() if value}


def _directories(workspace: Workspace) -> dict[str, str]:
    """A home of its own for each deployment; caches that its organization's stacks share."""
    cache = workspace.cache
    return {
        "HOME": str(workspace.home),
        "TMPDIR": str(workspace.temporary),
        "XDG_CACHE_HOME": str(cache / "xdg"),
        "PIP_CACHE_DIR": str(cache / "pip"),
        "npm_config_cache": str(cache / "npm"),
        "YARN_CACHE_FOLDER": str(cache / "yarn"),
        "GOPATH": str(cache / "go"),
        "GOMODCACHE": str(cache / "go" / "pkg" / "mod"),
        "GOCACHE": str(cache / "go-build"),
        "NUGET_PACKAGES": str(cache / "nuget"),
    }


def variables_of(text: str) -> dict[str, str]:
    """The variables that pre-run commands have appended to the `PULUMI_ENV` file.

    One `NAME=value` a line, as for a shell: `export` and a pair of quotes around the value are
    taken off. Other lines are ignored.
    """
    found = {}
    for line in text.splitlines():
        if match := _VARIABLE.fullmatch(line.strip()):
            name, value = match.groups()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found[name] = value
    return found
