"""A stack's pages in the console: its resources, and what each update said and did."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from control_plane.domain.property_values import SECRET, SIGNATURE
from control_plane.services.world import World
from tests.flow.test_console import browser, form_of
from tests.flow.test_state_history import summary
from tests.support.app import client
from tests.support.state import Stack, document, new_stack, resource
from tests.support.world import make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = make_world(tmp_path)
    yield made
    await made.database.close()


@pytest.fixture
async def stack(world: World) -> AsyncIterator[Stack]:
    async with client(world) as http:
        yield await new_stack(http)


def address(stack: Stack) -> str:
    return stack.path.removeprefix("/api/stacks")


async def test_resources_are_shown_page_by_page_and_found(world: World, stack: Stack) -> None:
    resources = [resource(f"thing-{k}") for k in range(1200)]
    assert (await stack.import_(document(*resources))).status_code == 200
    async with browser(world) as http:
        page = address(stack) + "/resources"
        first = (await http.get(page)).text
        assert "1 to 500 of 1200" in first
        assert ">thing-499" in first
        assert ">thing-500" not in first
        assert "1001 to 1200 of 1200" in (await http.get(page, params={"page": 3})).text
        found = (await http.get(page, params={"q": "thing-77"})).text
        assert "1 to 11 of 11" in found
        assert "None of the 1200" in (await http.get(page, params={"q": "<script>"})).text
        for wrong in ({"page": 0}, {"page": "x"}, {"q": "x" * 300}):
            assert (await http.get(page, params=wrong)).status_code == 400


def said(sequence: int, text: str, severity: str = "error") -> dict[str, Any]:
    event = {"message": text, "color": "raw", "severity": severity, "urn": "a::b::c::thing"}
    return {"sequence": sequence, "timestamp": 1, "diagnosticEvent": event}


def done(sequence: int, operation: str, name: str, kind: str = "resourcePreEvent") -> Any:
    metadata = {
        "op": operation,
        "urn": f"urn:pulumi:dev::shop::t:index:T::{name}",
        "type": "t:index:T",
        "old": None,
        "new": None,
        "detailedDiff": {"tags": {"diffKind": "update", "inputDiff": True}},
    }
    return {"sequence": sequence, "timestamp": 1, kind: {"metadata": metadata}}


async def test_an_update_says_what_was_done_and_what_failed(world: World, stack: Stack) -> None:
    update = await stack.start()
    await update.events(
        done(0, "create", "made"),
        done(1, "same", "untouched"),
        done(2, "update", "broken"),
        done(3, "update", "broken", "resOpFailedEvent"),
        said(4, "<{%fg 1%}>it <b>broke</b><{%reset%}>"),
        {"sequence": 5, "timestamp": 1, "resourcePreEvent": "not an object"},
        summary(6, "failed", create=1),
    )
    await update.complete("failed")
    async with browser(world) as http:
        text = (await http.get(f"{address(stack)}/updates/1")).text
        assert "it &lt;b&gt;broke&lt;/b&gt;" in text
        assert "fg 1" not in text
        assert ">made</a>" in text
        assert "untouched" not in text
        assert "tags" in text
        assert text.count(">failed</strong>") == 1
        listed = (await http.get(f"{address(stack)}/updates")).text
        assert f'href="{address(stack)}/updates/1"' in listed
        for missing in ("/updates/2", "/updates/9999999999", f"/previews/{update.id}"):
            assert (await http.get(address(stack) + missing)).status_code == 404


HOSTILE = "<img src=x onerror=alert(1)>"
INLINE = r"<script(?![^>]* src=)|\son\w+=[\"']|\sstyle=[\"']|(?:href|action)=.javascript:"


async def sealed(stack: Stack, value: Any) -> dict[str, str]:
    """A secret as an engine keeps it in a state."""
    plain = base64.b64encode(json.dumps(value).encode()).decode()
    answer = await stack.post("/encrypt", {"plaintext": plain})
    return {SIGNATURE: SECRET, "ciphertext": answer.json()["ciphertext"]}


def service(stack: Stack) -> dict[str, Any]:
    """This server as the state's secrets provider."""
    organization, project, name = stack.name
    state = {"url": "http://x", "owner": organization, "project": project, "stack": name}
    return {"type": "service", "state": state}


def root(**outputs: Any) -> dict[str, Any]:
    """The state's root resource, with the stack's outputs."""
    urn = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"
    return {"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack", "outputs": outputs}


async def test_a_secret_output_is_shown_when_it_is_asked_for(world: World, stack: Stack) -> None:
    outputs = {
        "password": await sealed(stack, "hunter2"),
        "nested": {"open": HOSTILE, "inner": [await sealed(stack, {"deep": "s3cr3t"})]},
        "url": "http://shop.test",
    }
    state = document(root(**outputs), secrets_providers=service(stack))
    assert (await stack.import_(state)).status_code == 200
    async with browser(world) as http:
        page = address(stack)
        text = (await http.get(page)).text
        assert "hunter2" not in text
        assert "s3cr3t" not in text
        assert "&lt;img src=x" in text
        assert not re.search(INLINE, text)
        form = await form_of(http, page)
        answer = await http.post(f"{page}/outputs/reveal", data=form | {"output": "password"})
        assert answer.headers["cache-control"] == "no-store"
        assert "hunter2" in answer.text
        assert "s3cr3t" not in answer.text, "each is asked for by itself"
        answer = await http.post(f"{page}/outputs/reveal", data=form | {"output": "nested"})
        assert "s3cr3t" in answer.text
        assert "hunter2" not in (await http.get(page)).text
        missing = await http.post(f"{page}/outputs/reveal", data=form | {"output": "none"})
        assert missing.status_code == 404
        del form["form_token"]
        refused = await http.post(f"{page}/outputs/reveal", data=form | {"output": "password"})
        assert refused.status_code == 403


async def test_secrets_of_another_key_say_whose_they_are(world: World, stack: Stack) -> None:
    secret = {SIGNATURE: SECRET, "ciphertext": "v1:abc:def"}
    passphrase = {"type": "passphrase", "state": {"salt": "v1:x"}}
    state = document(root(password=secret), secrets_providers=passphrase)
    assert (await stack.import_(state)).status_code == 200
    async with browser(world) as http:
        form = await form_of(http, address(stack)) | {"output": "password"}
        answer = await http.post(f"{address(stack)}/outputs/reveal", data=form)
    assert answer.status_code == 400
    assert "passphrase" in answer.text


async def test_the_readme_is_drawn_without_what_could_do_harm(world: World, stack: Stack) -> None:
    readme = (
        "# Shop\n\n**${outputs.count}** things, ${outputs.password}, ${outputs.none} "
        f"{HOSTILE} [x](javascript:alert(1)) [y](/sign-out) [z](https://a.test) "
        "![p](https://evil.test/p.png)\n\n|a|\n|-:|\n|1|"
    )
    outputs = {"readme": readme, "count": 3, "password": await sealed(stack, "hunter2")}
    state = document(root(**outputs), secrets_providers=service(stack))
    assert (await stack.import_(state)).status_code == 200
    async with browser(world) as http:
        text = (await http.get(address(stack))).text
        form = await form_of(http, address(stack)) | {"output": "password"}
        opened = (await http.post(f"{address(stack)}/outputs/reveal", data=form)).text
    drawn = text.partition('class="card prose">')[2].partition("</section>")[0]
    assert "<strong>3</strong> things, [secret], ${outputs.none}" in drawn
    assert re.findall(r'href="([^"]*)"', drawn) == ["https://a.test", "https://evil.test/p.png"]
    assert "<img" not in drawn
    assert "style=" not in drawn
    assert "<h3>Shop" in drawn
    assert opened.count("hunter2") == 1, "in the list, and not in the text"


async def test_a_resource_has_a_page(world: World, stack: Stack) -> None:
    bucket = resource(
        "bucket",
        inputs={"name": HOSTILE, "key": await sealed(stack, "k3y"), "__defaults": []},
        outputs={"arn": "arn:1"},
        parent=root()["urn"],
        protect=True,
    )
    user = resource("user", dependencies=[bucket["urn"]])
    state = document(root(), bucket, user, secrets_providers=service(stack))
    assert (await stack.import_(state)).status_code == 200
    async with browser(world) as http:
        page = f"{address(stack)}/resource"
        text = (await http.get(page, params={"urn": bucket["urn"]})).text
        assert "&lt;img src=x" in text
        assert "__defaults" not in text
        assert "k3y" not in text
        assert "Protected" in text
        used_by = text.partition("<dt>Used by</dt>")[2].partition("</dd>")[0]
        assert ">user</a>" in used_by
        form = await form_of(http, page + "?urn=" + quote(bucket["urn"]))
        form |= {"urn": bucket["urn"], "property": "inputs.key"}
        assert "k3y" in (await http.post(f"{page}/reveal", data=form)).text
        for wrong in ("inputs.none", "urn.key", "", "outputs.key"):
            answer = await http.post(f"{page}/reveal", data=form | {"property": wrong})
            assert answer.status_code == 404, wrong
        assert (await http.get(page, params={"urn": "urn:none"})).status_code == 404
        assert (await http.get(page)).status_code == 400
        found = (await http.get(f"{address(stack)}/resources?state=protected")).text
        assert "1 to 1 of 1" in found


async def test_what_an_engine_left_in_the_middle_is_pending(world: World, stack: Stack) -> None:
    begun = [{"resource": resource("half"), "type": "creating"}]
    state = document(resource("whole"), pending_operations=begun)
    assert (await stack.import_(state)).status_code == 200
    async with browser(world) as http:
        text = (await http.get(f"{address(stack)}/resources?state=pending")).text
    assert "pending: creating" in text
    assert "1 to 1 of 1" in text


async def test_the_page_follows_the_state(world: World, stack: Stack) -> None:
    """What was read of a state is kept, and never shown for another one."""
    async with browser(world) as http:
        page = f"{address(stack)}/resources"
        for name in ("first", "second"):
            await stack.import_(document(resource(name)))
            for _ in range(2):
                text = (await http.get(page)).text
                assert f">{name}</a>" in text
        update = await stack.start()
        await update.create("third")
        assert ">third</a>" in (await http.get(page)).text, "while the update runs"
        await update.complete()
        text = (await http.get(page)).text
    assert ">third</a>" in text
    assert ">second</a>" in text
    assert ">first</a>" not in text


def stepped(sequence: int, kind: str, operation: str, old: Any, new: Any, at: int) -> Any:
    metadata = {
        "op": operation,
        "urn": f"urn:pulumi:dev::shop::t:index:T::{HOSTILE}",
        "type": "t:index:T",
        "old": old and {"inputs": old, "outputs": {}},
        "new": new and {"inputs": new, "outputs": {}},
    }
    return {"sequence": sequence, "timestamp": at, kind: {"metadata": metadata}}


async def test_an_update_shows_what_became_of_each_property(world: World, stack: Stack) -> None:
    blind = {SIGNATURE: SECRET, "ciphertext": "[secret]"}
    before = {"size": 1, "tags": {"a": "x"}, "key": blind | {"ciphertext": "one"}}
    after = {"size": 2, "tags": {"a": "x", "b": HOSTILE}, "key": blind | {"ciphertext": "two"}}
    update = await stack.start(metadata={"message": HOSTILE, "environment": {"git.head": HOSTILE}})
    await update.events(
        stepped(0, "resourcePreEvent", "update", before, after, 100),
        stepped(1, "resOutputsEvent", "update", before, after, 107),
        summary(2, update=1),
    )
    await update.complete()
    preview = await stack.start("preview", dry_run=True)
    await preview.complete()
    async with browser(world) as http:
        text = (await http.get(f"{address(stack)}/updates/1")).text
        assert '<span class="removed">size: 1</span><span class="added">size: 2</span>' in text
        assert '<span class="added">tags.b: &lt;img' in text
        assert "key: [secret] (another)" in text
        assert "7 s" in text
        assert "<svg" in text
        assert HOSTILE not in text
        assert not re.search(INLINE, text)
        events = await http.get(f"{address(stack)}/updates/1/events")
        assert len(events.content.splitlines()) == 3
        assert "attachment" in events.headers["content-disposition"]
        shown = (await http.get(f"{address(stack)}/activity")).text
        assert f"/previews/{preview.id}" in shown
        assert "1 changed" in shown
        assert "2 in all" in shown
        only = (await http.get(f"{address(stack)}/activity?show=previews")).text
        assert "1 in all" in only
        assert (await http.get(f"{address(stack)}/activity?show=x")).status_code == 400
        assert (await http.get(f"{address(stack)}/previews/{preview.id}")).status_code == 200


async def test_the_configuration_of_the_last_update(world: World, stack: Stack) -> None:
    plain = base64.b64encode(b"hunter2").decode()
    sealed_text = (await stack.post("/encrypt", {"plaintext": plain})).json()["ciphertext"]
    inner = json.dumps({"open": HOSTILE, "hidden": {"secure": sealed_text}})
    config = {
        "shop:password": {"string": sealed_text, "secret": True, "object": False},
        "shop:object": {"string": inner, "secret": True, "object": True},
        "aws:region": {"string": "eu", "secret": False, "object": False},
        "shop:foreign": {"string": "v1:abc", "secret": True, "object": False},
    }
    page = f"{address(stack)}/config"
    async with browser(world) as http:
        assert "No update yet" in (await http.get(page)).text
        update = await stack.start(config=config)
        await update.complete()
        text = (await http.get(page)).text
        assert "aws:region" in text
        assert "&lt;img" in text
        assert "hunter2" not in text
        assert sealed_text not in text
        form = await form_of(http, page)
        for key in ("shop:password", "shop:object"):
            answer = await http.post(f"{page}/reveal", data=form | {"key": key})
            assert answer.text.count("hunter2") == 1
        refused = await http.post(f"{page}/reveal", data=form | {"key": "shop:foreign"})
        assert refused.status_code == 400
        assert "cannot be" in refused.text
        missing = await http.post(f"{page}/reveal", data=form | {"key": "x"})
        assert missing.status_code == 404


async def test_values_nested_beyond_measure_are_left_out(world: World, stack: Stack) -> None:
    """A state may be deeper than it can be walked through; the rest of the page is there."""
    deep = b'{"x":' * 900 + b"1" + b"}" * 900
    state = json.dumps(document(root(other="kept"), resource("thing", outputs={"a": "DEEP"})))
    body = state.replace('"other"', '"deep":"DEEP","other"').encode().replace(b'"DEEP"', deep)
    headers = {"Content-Type": "application/json"}
    answer = await stack.http.post(f"{stack.path}/import", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    async with browser(world) as http:
        text = (await http.get(address(stack))).text
        assert "kept" in text
        assert "nested too deep" in text
        page = f"{address(stack)}/resource"
        found = await http.get(page, params={"urn": resource("thing")["urn"]})
        assert "nested too deep" in found.text
