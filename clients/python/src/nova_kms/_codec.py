"""Hexadecimal, base64 and JSON as the protocol has them: one spelling of each, and bounded."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from typing import TypeAlias

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

_HEX = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})*)", re.ASCII)
_MAX_DEPTH = 16


class Malformed(ValueError):
    """A text that is none. Says nothing about its content."""


def hex_decode(text: str, length: int | None = None) -> bytes:
    """Bytes of hexadecimal digits in any case, with or without 0x. length: how many there must be."""
    match = _HEX.fullmatch(text)
    if match is None or (length is not None and len(match[1]) != 2 * length):
        raise Malformed("not valid hexadecimal digits")
    return bytes.fromhex(match[1])


def base64_decode(text: str) -> bytes:
    """Bytes of base64 in its canonical form (RFC 4648 section 3.5)."""
    failed = False
    data = b""
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError:
        failed = True
    # The bits behind the last byte are zero.
    tail = len(data) % 3
    if failed or len(text) % 4 or (tail and base64.b64encode(data[-tail:]).decode() != text[-4:]):
        raise Malformed("not valid base64")
    return data


def base64_encode(data: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(data).decode("ascii")


def _object(pairs: Iterable[tuple[str, Json]]) -> dict[str, Json]:
    members: dict[str, Json] = {}
    for name, value in pairs:
        if name in members:
            raise Malformed("a member of an object is there twice")
        members[name] = value
    return members


def _no_number(text: str) -> Json:
    raise Malformed("a number is not an integer")


def _check(value: Json, depth: int) -> None:
    """Refuses what UTF-8 cannot say (lone surrogates), and what is nested too deeply."""
    if depth > _MAX_DEPTH and isinstance(value, list | dict):
        raise Malformed("nested too deeply")
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            name.encode()
            _check(item, depth + 1)


def json_decode(data: bytes | bytearray) -> Json:
    """JSON in UTF-8: integers only, no member twice, at most 16 levels."""
    value: Json = None
    failed = False
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_float=_no_number, parse_constant=_no_number)
        _check(value, 1)
    except (ValueError, RecursionError):
        failed = True  # raised below, out of reach of the parser's error, which holds the text
    if failed:
        raise Malformed("not valid JSON")
    return value


def json_object(data: bytes | bytearray) -> dict[str, Json]:
    value = json_decode(data)
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value


def json_encode(value: object) -> bytes:
    """Canonical JSON: members sorted, no spaces, no needless escapes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
