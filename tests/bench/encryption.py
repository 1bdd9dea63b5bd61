"""(k) Encrypting a thousand values in one request, beside the cipher itself."""

from __future__ import annotations

import base64
import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.bench.report import Section, p50, p99, say
from tests.bench.servers import control_plane, create_stack
from tests.bench.wire import Wire
from tests.support.slipway import TOKEN

VALUES = 1_000
VALUE_BYTES = 40
REPEATS = 100
WARM_UP = 5
MILLISECONDS_MAX = 50


def measure(root: Path) -> Section:
    """Requests and bare encryptions in turn."""
    section = Section("k", f"POST batch-encrypt of {VALUES} values; yardstick: AES-GCM in process")
    values = [secrets.token_bytes(VALUE_BYTES) for _ in range(VALUES)]
    body = {"plaintexts": [base64.b64encode(value).decode() for value in values]}
    cipher = AESGCM(secrets.token_bytes(32))
    ours: list[float] = []
    bare: list[float] = []
    with control_plane(root / "data") as served, Wire(served.port, TOKEN) as wire:
        stack = create_stack(wire, "bench", "dev")
        say(f"(k) {REPEATS} requests")
        for number in range(WARM_UP + REPEATS):
            began = time.perf_counter()
            answer = wire.ask("POST", f"{stack}/batch-encrypt", body)
            answered = time.perf_counter()
            for value in values:
                cipher.encrypt(secrets.token_bytes(12), value, b"")
            done = time.perf_counter()
            if len(answer["ciphertexts"]) != VALUES:
                raise RuntimeError("not all values were encrypted")
            if number >= WARM_UP:
                ours.append((answered - began) * 1000)
                bare.append((done - answered) * 1000)
    section.at_most("p50", p50(ours), "ms", MILLISECONDS_MAX, yardstick=p50(bare))
    section.know("p99", p99(ours), "ms", p99(bare))
    section.samples = {"ours": ours, "bare": bare}
    return section
