"""Writes the golden MessagePack messages anew from those in JSON, by an encoder that is not the gateway's.

pip install msgpack==1.1.2; python3 crates/protocol/tests/golden_msgpack.py
"""

import base64
import json
import pathlib

import msgpack

TESTS = pathlib.Path(__file__).parent


def with_bytes(value):
    """In MessagePack bytes are bytes, and need no word that says so."""
    if isinstance(value, list):
        return [with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {name: with_bytes(field) for name, field in value.items()}
    if fields.pop("encoding", None) == "base64":
        fields["data"] = base64.b64decode(fields["data"])
    return fields


for golden in sorted((TESTS / "golden").glob("*.jsonl")):
    messages = [with_bytes(json.loads(line)) for line in golden.read_text().rstrip("\n").split("\n")]
    lines = "".join(msgpack.packb(message).hex() + "\n" for message in messages)
    (TESTS / "golden_msgpack" / (golden.stem + ".hex")).write_text(lines)
