"""The Cloud REST SDK as a user has it, and an update by its calls in the place of an engine's."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError

import pytest
from pulumi_cloud_sdk import ApiClient, Configuration, apis, models

from tests.support.app import ADMIN

StackAddress = tuple[str, str, str]

THING = "test:index:Thing"


class Cloud:
    """The SDK's doors, with one token."""

    def __init__(self, url: str, token: str) -> None:
        configuration = Configuration()
        configuration.host, configuration.access_token = url, token
        self.client = ApiClient(configuration)
        self.url = url
        self.stacks = apis.StacksApi(self.client)
        self.deployments = apis.DeploymentsApi(self.client)
        self.organizations = apis.OrganizationsApi(self.client)
        self.users = apis.UsersApi(self.client)
        self.registry = apis.RegistryApi(self.client)
        self.other = apis.MiscellaneousApi(self.client)


@contextmanager
def refused(status: int) -> Iterator[None]:
    with pytest.raises(HTTPError) as raised:
        yield
    assert raised.value.code == status, raised.value.read()


def new_stack(
    cloud: Cloud, project: str, name: str, organization: str = ADMIN, **more: Any
) -> StackAddress:
    request = models.AppCreateStackRequest(stack_name=name, **more)
    cloud.organizations.create_stack(organization, project, request)
    return organization, project, name


def thing(stack: StackAddress, name: str) -> dict[str, Any]:
    urn = f"urn:pulumi:{stack[2]}::{stack[1]}::{THING}::{name}"
    return {"urn": urn, "custom": False, "type": THING}


def state_of(stack: StackAddress, *names: str) -> dict[str, Any]:
    manifest = {"time": "2026-01-02T03:04:05Z", "magic": "", "version": ""}
    return {"manifest": manifest, "resources": [thing(stack, name) for name in names]}


class Engine:
    """An update by the SDK's calls; what has to do with its lease goes with the lease's token."""

    def __init__(
        self,
        cloud: Cloud,
        stack: StackAddress,
        kind: str = "update",
        *,
        dry_run: bool = False,
        journal: int = 0,
    ) -> None:
        self.api, self.stack, self.kind = cloud.stacks, stack, kind
        create = getattr(self.api, f"create_update_for_{kind}")
        self.id = create(*stack, program(stack[1], dry_run)).update_id
        start = getattr(self.api, f"start_update_for_{kind}")
        started = start(*stack, self.id, models.AppStartUpdateRequest(journal_version=journal))
        assert started.journal_version == journal
        self.version = started.version
        configuration = Configuration()
        configuration.host = cloud.url
        client = ApiClient(configuration)
        client.default_headers["Authorization"] = f"update-token {started.token}"
        self._leased = apis.StacksApi(client)

    def call(self, name: str, *arguments: Any) -> Any:
        """A call by the user's token, of this update's kind."""
        return getattr(self.api, f"{name}_{self.kind}")(*self.stack, self.id, *arguments)

    def leased(self, name: str, *arguments: Any) -> Any:
        """A call by the lease's token."""
        return getattr(self._leased, f"{name}_{self.kind}")(*self.stack, self.id, *arguments)

    def run(self, *names: str) -> None:
        """All of an update that leaves these resources."""
        self.events(*names)
        self.checkpoint(*names)
        self.complete()

    def status(self) -> str:
        return str(self.call("get_update_status_for").status)

    def renew(self) -> str:
        request = models.AppRenewUpdateLeaseRequest(token="", duration=300)
        return str(self.leased("renew_update_lease", request).token)

    def events(self, *names: str) -> None:
        now = int(time.time())
        first = models.AppEngineEvent(
            0, now, stdout_event=models.AppStdoutEngineEvent("hello", "raw")
        )
        self.leased("record_engine_event", first)
        summary = models.AppSummaryEvent(
            False, 1, {"create": len(names)}, {}, False, models.AppOperationResult("succeeded")
        )
        event = self._pre_event(names[0])
        rest = [
            models.AppEngineEvent(1, now, resource_pre_event=event),
            models.AppEngineEvent(2, now, summary_event=summary),
        ]
        self.leased("record_engine_event_batch", models.AppEngineEventBatch(rest))

    def checkpoint(self, *names: str) -> None:
        request = models.AppPatchUpdateCheckpointRequest(
            is_invalid=False, version=3, deployment=state_of(self.stack, *names)
        )
        self.leased("patch_update_checkpoint", request)

    def verbatim(self, sequence: int, *names: str) -> bytes:
        """Save a state as it is; returns its bytes as they went."""
        whole = {"version": 3, "deployment": state_of(self.stack, *names)}
        request = models.AppPatchUpdateVerbatimCheckpointRequest(
            version=3, sequence_number=sequence, untyped_deployment=whole
        )
        self.leased("patch_update_verbatim_checkpoint", request)
        return json.dumps(whole).encode()

    def delta(self, sequence: int, before: bytes, *names: str) -> bytes:
        """Save a state as a difference to the one before; returns its bytes."""
        after = json.dumps({"version": 3, "deployment": state_of(self.stack, *names)}).encode()
        places = {"start": {"offset": 0}, "end": {"offset": len(before)}}
        request = models.AppPatchUpdateCheckpointDeltaRequest(
            version=3,
            checkpoint_hash=hashlib.sha256(after).hexdigest(),
            sequence_number=sequence,
            deployment_delta=[{"Span": {"uri": "", **places}, "NewText": after.decode()}],
        )
        self.leased("patch_update_checkpoint_delta", request)
        return after

    def journal(self, name: str) -> None:
        """Save one more resource as a journal entry.

        The SDK's model of one cannot say what a creation says: that it removes nothing.
        """
        made = {"kind": 1, "sequenceID": 1, "operationID": 1, "state": thing(self.stack, name)}
        entry = {"version": 1, "removeOld": None, "removeNew": None, **made}
        self.leased("create_journal_entries", models.AppJournalEntries([entry]))

    def complete(self, result: str = "succeeded") -> None:
        request = models.AppCompleteUpdateRequest(status=models.AppUpdateStatus(result))
        self.leased("complete_update", request)

    def _pre_event(self, name: str) -> Any:
        urn = thing(self.stack, name)["urn"]
        metadata = models.AppStepEventMetadata(
            op=models.AppOpType("create"),
            urn=urn,
            type=THING,
            old=models.AppStepEventStateMetadata("", "", "", "", {}, {}, ""),
            new=models.AppStepEventStateMetadata(THING, urn, "", "", {}, {}, ""),
            detailed_diff={},
            provider="",
        )
        return models.AppResourcePreEvent(metadata)


def program(project: str, dry_run: bool) -> Any:
    options = models.AppUpdateOptions([], "raw", dry_run, 4, False, False, False, False, False)
    return models.AppUpdateProgramRequest(
        name=project,
        runtime="python",
        main="",
        description="",
        options=options,
        config={f"{project}:size": models.AppConfigValue("3", False, False)},
        metadata=models.AppUpdateMetadata("by the SDK", {"git.head": "abc"}),
    )
