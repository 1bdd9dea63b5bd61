"""What GitHub shows: whatever the texts in it say, they stay texts, and it never is too long."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from control_plane.domain.deployment import ENDED, Operation, Reason, Status
from control_plane.domain.diagnostics import Message
from control_plane.domain.github import comment, markdown, report, rules, telling
from control_plane.domain.github.resource_changes import (
    SECRET,
    SIGNATURE,
    Change,
    Changes,
    Property,
)
from control_plane.domain.github.telling import Told
from control_plane.domain.names import StackName

STACK = StackName("acme", "shop", "dev")
URL = "https://slipway.test/acme/shop/dev/deployments/12"
COMMIT_URL = "https://github.test/acme/shop/commit/abc"

HOSTILE = [
    "@octocat and @acme/admins",
    "[click](https://evil.test)",
    "![x](https://evil.test/p.png)",
    "https://evil.test",
    "<img src=x onerror=alert(1)>",
    "</details></summary>",
    "-->\n<!-- slipway:stack:other -->",
    "<!-- slipway:stack:id -->",
    "```\n@octocat\n```",
    "````````````````````````` x",
    "~~~\n@octocat\n~~~",
    "`",
    "a ` b `` c",
    "\n\n# Heading\n\n* @octocat\n",
    "fixes #1, acme/shop#2, GH-3",
    "| a | b |\n|---|---|\n| @octocat | x |",
    "\u202eevil\u2066",
    "\x1b[31mred\x1b[0m <{%fg 1%}>x<{%reset%}>",
    "\ud800 \x00 \r\n \r",
    "\u2028@octocat",
    "    @octocat",
    "\\`@octocat",
    "&lt;b&gt; &commat;octocat",
]
texts = st.sampled_from(HOSTILE) | st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join)
texts |= st.text(st.sampled_from(list("`~\n @<>[]()#-*_\\&|!x\r")), max_size=30)
texts |= st.text(st.characters(), max_size=20)
values = st.recursive(
    texts | st.integers(-(2**53), 2**53) | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
utf8 = texts.map(lambda text: text.encode(errors="replace").decode())


@st.composite
def tellings(draw: st.DrawFn) -> Told:
    status = draw(st.sampled_from(Status))
    reasons = st.none() | st.sampled_from(Reason)
    return Told(
        stack=STACK,
        stack_id="id",
        operation=draw(st.sampled_from(Operation)),
        status=status,
        reason=draw(reasons) if status in ENDED else None,
        version=12,
        url=draw(st.sampled_from([URL, "javascript:alert(1)", URL + "/a) [x](https://evil.test"])),
        commit=draw(texts),
        commit_url=draw(st.sampled_from([COMMIT_URL, ""])),
        message=draw(texts),
        waiting=draw(texts),
        seconds=draw(st.none() | st.integers(0, 9000)),
        counts=draw(
            st.dictionaries(st.sampled_from(["create", "same", "delete", "x"]), st.integers(0, 9))
        ),
        changes=draw(changes),
        messages=tuple(draw(st.lists(messages, max_size=2))),
        outputs=draw(st.none() | st.dictionaries(utf8, json_values, max_size=3)),
        log_tail=draw(texts),
        pull_request=7,
        review_stack=draw(st.booleans()),
        fork=draw(st.booleans()),
    )


json_values = st.recursive(
    utf8 | st.integers(-(2**53), 2**53) | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(utf8, inner, max_size=2),
    max_leaves=4,
)
messages = st.builds(
    Message, severity=st.sampled_from(["error", "info"]), text=texts, resource=texts
)
properties = st.builds(Property, path=texts, before=texts, after=texts)
changes = st.builds(
    Changes,
    each=st.lists(
        st.builds(
            Change,
            operation=st.sampled_from(["create", "update", "replace", "delete", "odd"]),
            type=texts,
            name=texts,
            properties=st.lists(properties, max_size=2).map(tuple),
            failed=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    left_out=st.integers(0, 3),
)

ALLOWED_HTML = re.compile(
    r"(<!-- slipway:stack:id -->"
    r"|<details><summary>(Outputs|Resources and properties)</summary>|</details>)\n?"
)
OUR_WORDS = re.compile(r"[A-Za-z0-9 .,:;'…\n-]*")
"""What stands outside code: nothing that GitHub would link, mention or refer to."""


def flat(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *flat(token.children or []))]


def require_harmless(text: str) -> None:
    text.encode()
    for token in flat(MarkdownIt("commonmark").enable("table").parse(text)):
        if token.type in ("html_block", "html_inline"):
            assert ALLOWED_HTML.fullmatch(token.content), token.content
        elif token.type == "link_open":
            href = str(token.attrs["href"])
            assert href.startswith((URL, COMMIT_URL)), href
        elif token.type == "text":
            assert OUR_WORDS.fullmatch(token.content), token.content
        else:
            assert token.type not in ("image", "table_open", "code_block"), token


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(tellings())
def test_texts_stay_texts(told: Told) -> None:
    body = comment.render(told)
    require_harmless(body)
    check = report.check_run(told)
    require_harmless(check.summary)
    require_harmless(check.text)
    assert "\n" not in check.title
    assert OUR_WORDS.fullmatch(check.title)
    assert OUR_WORDS.fullmatch(report.commit_status(told).description)
    assert OUR_WORDS.fullmatch(report.deployment_status(told).description)


@settings(deadline=None, max_examples=100)
@given(tellings())
def test_a_comment_is_its_stacks_and_no_others(told: Told) -> None:
    body = comment.render(told)
    assert comment.is_of(body, "id")
    assert not comment.is_of(body, "other")
    assert not comment.is_of("Look: " + body, "id")


@settings(deadline=None, max_examples=100)
@given(tellings())
def test_states_fit_together(told: Told) -> None:
    check, status = report.check_run(told), report.commit_status(told)
    deployment = report.deployment_status(told)
    assert (check.status == "completed") == told.ended == bool(check.conclusion)
    assert (status.state == "pending") == (not told.ended)
    assert (deployment.state in ("queued", "in_progress")) == (not told.ended)
    assert (status.state == "success") == (told.status is Status.SUCCEEDED)
    assert (check.conclusion == "success") == (told.status is Status.SUCCEEDED)
    assert len(status.description) <= report.DESCRIPTION_CHARACTERS_MAX
    assert len(deployment.description) <= report.DESCRIPTION_CHARACTERS_MAX


def a_telling(**changes: Any) -> Told:
    told: dict[str, Any] = {
        "stack": STACK,
        "stack_id": "id",
        "operation": Operation.PREVIEW,
        "status": Status.SUCCEEDED,
        "version": 12,
        "url": URL,
        "commit": "abcdef0123456789",
    }
    return Told(**(told | changes))


@pytest.mark.parametrize(
    ("status", "reason", "operation", "expected"),
    [
        (Status.NOT_STARTED, None, "update", ("", "pending", "queued")),
        (Status.ACCEPTED, None, "update", ("", "pending", "in_progress")),
        (Status.RUNNING, None, "update", ("", "pending", "in_progress")),
        (Status.SUCCEEDED, Reason.COMPLETED, "update", ("success", "success", "success")),
        (Status.SUCCEEDED, Reason.COMPLETED, "destroy", ("success", "success", "inactive")),
        (Status.FAILED, Reason.CLI_EXIT, "update", ("failure", "failure", "failure")),
        (Status.FAILED, Reason.TIMED_OUT, "update", ("timed_out", "failure", "failure")),
        (Status.FAILED, Reason.CANCELLED, "update", ("cancelled", "error", "error")),
        (Status.SKIPPED, Reason.CANCELLED, "update", ("cancelled", "error", "error")),
        (Status.SKIPPED, Reason.SUPERSEDED, "preview", ("skipped", "error", "inactive")),
        (Status.SKIPPED, Reason.QUEUE_EXPIRED, "update", ("cancelled", "error", "error")),
        (Status.FAILED, Reason.RUNNER_LOST, "update", ("failure", "error", "error")),
        (Status.FAILED, Reason.INTERNAL, "update", ("failure", "error", "error")),
    ],
)
def test_the_table_of_states(
    status: Status, reason: Reason | None, operation: str, expected: tuple[str, str, str]
) -> None:
    told = a_telling(status=status, reason=reason, operation=Operation(operation))
    found = (
        report.check_run(told).conclusion,
        report.commit_status(told).state,
        report.deployment_status(told).state,
    )
    assert found == expected


def test_a_refusal_is_a_check_where_readers_should_know() -> None:
    def check(code: rules.Code, why: str = "Because.") -> report.Check | None:
        return report.check_of_refusal(STACK, Operation.PREVIEW, rules.No(code=code, why=why))

    asked = check(rules.Code.FORK, "@octocat must [look](https://evil.test).")
    assert asked is not None
    assert asked.conclusion == "action_required"
    require_harmless(asked.summary)
    left = check(rules.Code.PATHS)
    assert left is not None
    assert left.conclusion == "skipped"
    assert left.name == "shop/dev preview"
    assert check(rules.Code.BRANCH) is None


def big(count: int, character: str = "x") -> Told:
    change = Change(
        operation="update",
        type="aws:s3/bucket:Bucket",
        name="b" * 80,
        properties=tuple(
            Property(path=f"tags[{n}]", before=character * 300, after=character * 300)
            for n in range(2)
        ),
    )
    return a_telling(
        status=Status.FAILED,
        reason=Reason.CLI_EXIT,
        operation=Operation.UPDATE,
        changes=Changes(each=(change,) * count, left_out=5),
        messages=(Message(severity="error", text=character * 1000 + "\n" + "line\n" * 9000),) * 9,
        outputs={f"name{n}": character * 900 for n in range(100)},
        log_tail=f"{character * 100}\n" * 5000,
    )


@pytest.mark.parametrize("character", ["x", "`x", "é", "\U0001f680", "\\", '"'])
@pytest.mark.parametrize("count", [1, 3, 50, 1000])
def test_nothing_is_longer_than_github_takes_and_what_is_cut_says_so(
    count: int, character: str
) -> None:
    told = big(count, character)
    body, check = comment.render(told), report.check_run(told)
    for text, limit in (
        (body, comment.SIZE_MAX),
        (check.summary, report.TEXT_SIZE_MAX),
        (check.text, report.TEXT_SIZE_MAX),
    ):
        assert len(text.encode()) <= limit
        require_harmless(text)
    assert "more lines" in body
    assert "more outputs" in body
    assert "resources are not shown" in body
    assert "resources are not shown" in check.text
    assert "the whole log" in check.text
    assert body.endswith("of commit `abcdef012345`")
    if count > 3:
        # What is there is used.
        assert len(body.encode()) > comment.SIZE_MAX * 0.7
        assert len(check.text.encode()) > report.TEXT_SIZE_MAX * 0.7


def test_a_comment_tells_what_people_look_for() -> None:
    changes = Changes(
        each=(
            Change(
                operation="update",
                type="aws:s3:Bucket",
                name="logs",
                properties=(Property(path="acl", before='"private"', after='"public"'),),
            ),
            Change(operation="delete", type="aws:s3:Bucket", name="old"),
        )
    )
    counts = {"create": 0, "update": 1, "delete": 1, "same": 4}
    told = a_telling(changes=changes, counts=counts, seconds=75, commit_url=COMMIT_URL)
    assert comment.render(told) == "\n".join(
        [
            "<!-- slipway:stack:id -->",
            "### Slipway preview of `shop/dev`",
            "",
            "**Succeeded: 1 to update, 1 to delete, 4 unchanged.**",
            "",
            "<details><summary>Resources and properties</summary>",
            "",
            "```diff",
            "~ aws:s3:Bucket logs (update)",
            '-     acl: "private"',
            '+     acl: "public"',
            "- aws:s3:Bucket old (delete)",
            "```",
            "",
            "</details>",
            "",
            f"[Deployment 12](<{URL}>) of commit [`abcdef012345`](<{COMMIT_URL}>), 1 min 15 s",
        ]
    )


def test_a_review_stacks_comment_tells_its_outputs_and_no_secrets() -> None:
    outputs = {
        "url": "https://preview.test",
        "password": {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "hidden"},
        "deep": [{"key": {SIGNATURE: "anything", "plaintext": "hidden"}}],
    }
    told = a_telling(operation=Operation.UPDATE, outputs=outputs, review_stack=True, counts={})
    body = comment.render(told)
    assert 'url: "https://preview.test"' in body
    assert "hidden" not in body
    assert body.count(SECRET) == 2
    gone = a_telling(operation=Operation.DESTROY, outputs=outputs, review_stack=True)
    assert "The review stack is gone." in comment.render(gone)
    assert "preview.test" not in comment.render(gone)


@pytest.mark.parametrize("status", [each for each in Status if each not in ENDED])
def test_nothing_is_told_anew_only_because_time_passes(status: Status) -> None:
    one, later = (a_telling(status=status, seconds=seconds) for seconds in (5, 65))
    assert comment.render(one) == comment.render(later)
    assert report.check_run(one) == report.check_run(later)
    assert report.commit_status(one) == report.commit_status(later)


@given(texts, st.integers(0, 60))
def test_cutting_never_makes_a_text_longer(text: str, size: int) -> None:
    clean = markdown.plain(text)
    assert markdown.size(markdown.cut(clean, size)) <= max(size, markdown.size("…"))
    kept, left = markdown.first_lines(clean.split("\n"), size)
    assert sum(markdown.size(line) + 1 for line in kept) <= size
    assert len(kept) + left == len(clean.split("\n"))
    end, was_cut = markdown.last_lines(clean, size)
    assert clean.endswith(end)
    assert was_cut or end == clean


@given(texts)
def test_a_block_shows_the_text_as_it_is(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse(markdown.block(text))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content.rstrip("\n") == markdown.plain(text).strip("\n")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (3725, "1 h 2 min")],
)
def test_durations(seconds: int, said: str) -> None:
    assert telling.duration(seconds) == said
