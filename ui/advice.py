"""What a person can do about a deployment that did not succeed, by the reason of its end."""

from __future__ import annotations

from control_plane.domain.deployment import Reason

ADVICE: dict[str, str] = {
    Reason.CLI_EXIT: "Read the error here and the log below; mend the program or what it lacks,"
    " and deploy again.",
    Reason.CANCELLED: "What had been done until then is saved. If something was under way when it"
    " was killed, run Refresh before anything else.",
    Reason.TIMED_OUT: "It took longer than a deployment may. Look in the log for what it waited"
    " for; run Refresh before you deploy again.",
    Reason.SUPERSEDED: "Nothing to do: a newer deployment of the same kind does what this one was"
    " to do.",
    Reason.QUEUE_EXPIRED: "It waited longer than one may. See in the queue what holds it up, and"
    " deploy again.",
    Reason.SOURCE_ERROR: "Check the repository's address, the branch or commit, and the"
    " credentials in the deploy settings.",
    Reason.INSTALL_ERROR: "Installing the program's dependencies failed. Try the same install on"
    " your machine; a private registry may want credentials in the environment variables.",
    Reason.PRERUN_ERROR: "One of the commands before the operation failed; they are in the deploy"
    " settings.",
    Reason.RUNNER_LOST: "The machine or its runner is gone. Run Refresh to see what is really"
    " there, then deploy again.",
    Reason.OUT_OF_MEMORY: "The program took more memory than a runner has. Do less at once, or give"
    " the pool larger machines.",
    Reason.DISK_FULL: "The runner's disk was full. Clear the caches in the deploy settings, or give"
    " the pool larger disks.",
    Reason.OUTPUT_LIMIT: "It wrote more than a log may hold. Make it say less.",
    Reason.INTERNAL: "Slipway itself failed. Deploy again; if it happens again, tell whoever runs"
    " this server, with this page's address.",
}


def advice(reason: str | None) -> str:
    """What to do; empty where nothing is wrong."""
    return ADVICE.get(reason or "", "")


TRIGGERS = {
    "api": "the REST API",
    "cli": "the Pulumi CLI",
    "console": "the console",
    "push": "a git push",
    "pull_request": "a pull request",
    "schedule": "a schedule",
    "webhook": "a webhook",
}
