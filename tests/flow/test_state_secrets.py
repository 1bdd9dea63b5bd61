"""Config secrets over HTTP: any bytes, bound to the stack, fast in batches."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import BadRequest
from control_plane.services.stack_secrets import StackCipher
from control_plane.services.world import World
from tests.support.app import client
from tests.support.state import Stack, new_stack, packed
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


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_what_is_encrypted_comes_back(values: list[bytes]) -> None:
    cipher = StackCipher(b"k" * 32, "stack-1")
    ciphertexts = cipher.encrypt(values)
    assert [cipher.decrypt(each) for each in ciphertexts] == values
    assert len(set(ciphertexts)) == len(values), "equal values do not look alike"


@given(st.binary(max_size=100), st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_ciphertext_does_not_open(value: bytes, place: int, flip: int) -> None:
    cipher = StackCipher(b"k" * 32, "stack-1")
    [ciphertext] = cipher.encrypt([value])
    changed = bytearray(ciphertext)
    changed[place % len(changed)] ^= flip
    with pytest.raises(BadRequest):
        cipher.decrypt(bytes(changed))
    with pytest.raises(BadRequest):
        cipher.decrypt(ciphertext[: place % len(ciphertext)])


@given(st.binary(max_size=100))
def test_another_stack_does_not_open_it_even_with_the_same_key(value: bytes) -> None:
    [ciphertext] = StackCipher(b"k" * 32, "stack-1").encrypt([value])
    with pytest.raises(BadRequest):
        StackCipher(b"k" * 32, "stack-2").decrypt(ciphertext)


async def test_one_value_there_and_back(stack: Stack) -> None:
    value = b64(bytes(range(256)))
    answer = await stack.post("/encrypt", {"plaintext": value})
    assert answer.status_code == 200
    ciphertext = answer.json()["ciphertext"]
    back = await stack.post("/decrypt", {"ciphertext": ciphertext})
    assert back.json() == {"plaintext": value}
    empty = (await stack.post("/encrypt", {"plaintext": ""})).json()["ciphertext"]
    assert (await stack.post("/decrypt", {"ciphertext": empty})).json() == {"plaintext": ""}


async def test_a_batch_keeps_its_order_and_answers_by_the_text_asked(stack: Stack) -> None:
    values = [b64(f"v{number}".encode()) for number in range(50)]
    answer = await stack.http.post(f"{stack.path}/batch-encrypt", **packed({"plaintexts": values}))
    ciphertexts = answer.json()["ciphertexts"]
    assert len(ciphertexts) == 50
    asked = {"ciphertexts": [*ciphertexts, ciphertexts[0]]}
    back = await stack.http.post(f"{stack.path}/batch-decrypt", **packed(asked))
    assert back.json() == {"plaintexts": dict(zip(ciphertexts, values, strict=True))}
    assert (await stack.post("/batch-encrypt", {"plaintexts": []})).json() == {"ciphertexts": []}


async def test_a_thousand_values_take_less_than_a_tenth_of_a_second(stack: Stack) -> None:
    values = [b64(b"x" * 40)] * 1000
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        answer = await stack.post("/batch-encrypt", {"plaintexts": values})
        await stack.post("/batch-decrypt", {"ciphertexts": answer.json()["ciphertexts"]})
        best = min(best, time.perf_counter() - started)
    assert best < 0.1, "for encrypting and decrypting together"


async def test_another_stacks_ciphertext_is_refused(stack: Stack) -> None:
    other = await new_stack(stack.http, "other")
    ciphertext = (await stack.post("/encrypt", {"plaintext": "aGk="})).json()["ciphertext"]
    for rest, body in (
        ("/decrypt", {"ciphertext": ciphertext}),
        ("/batch-decrypt", {"ciphertexts": [ciphertext]}),
        ("/decrypt", {"ciphertext": "AQID"}),
        ("/decrypt", {"ciphertext": "no base64!"}),
        ("/decrypt", {"ciphertext": 7}),
        ("/encrypt", {"plaintext": "no base64!"}),
        ("/encrypt", {}),
    ):
        answer = await other.post(rest, body)
        assert answer.status_code == 400, (rest, body)
        assert answer.json()["code"] == 400


async def test_notes_of_foreign_decryption_are_taken(stack: Stack) -> None:
    one = await stack.post("/decrypt/log-decryption", {"secretName": "k"})
    many = await stack.post("/decrypt/log-batch-decryption", {"commandName": "stack output"})
    assert (one.status_code, many.status_code) == (204, 204)
    nowhere = stack.path.replace("/dev", "/nowhere")
    gone = await stack.http.post(f"{nowhere}/encrypt", json={"plaintext": "aGk="})
    assert gone.status_code == 404


async def test_no_plaintext_is_in_the_database(stack: Stack, world: World) -> None:
    await stack.post("/encrypt", {"plaintext": b64(b"hush-hush-hush")})
    written = [path.read_bytes() for path in files(world.config.data_dir)]
    assert written
    assert not any(b"hush-hush-hush" in each for each in written)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]
