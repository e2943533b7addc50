"""Calls of the registries, and what they return (docs/protocol.md section 14). Strict: whatever is not well formed is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._codec import Malformed
from ._wallet import keccak256

_WORD = 32
_INSTANCE_WORDS, _VERSION_WORDS = 10, 10
MAX_MEMBERS = 1000
_MAX_URL, _MAX_PUBKEY = 2048, 256


@dataclass(frozen=True)
class Instance:
    """url, pubkey: None where they are too long, or no text: such an instance is no node, and nothing else is wrong."""

    id: int
    app_id: int
    version_id: int
    url: str | None
    pubkey: bytes | None
    wallet: str
    zk_verified: bool
    status: int


@dataclass(frozen=True)
class Version:
    id: int
    status: int


def call(signature: str, *arguments: int | str) -> str:
    """The data of a call. arguments: numbers of 64 bits, and addresses."""
    words = [int(a, 16) if isinstance(a, str) else a for a in arguments]
    return "0x" + keccak256(signature.encode())[:4].hex() + "".join(format(word, "064x") for word in words)


class _Part:
    """Data that offsets count from: all of it, or a struct and what follows it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def _word(self, index: int) -> bytes:
        word = self._data[index * _WORD : (index + 1) * _WORD]
        if len(word) != _WORD:
            raise Malformed("the data ends too early")
        return word

    def number(self, index: int, bits: int = 64) -> int:
        number = int.from_bytes(self._word(index), "big")
        if number >> bits:
            raise Malformed("a number is too large")
        return number

    def truth(self, index: int) -> bool:
        return self.number(index, 1) == 1

    def address(self, index: int) -> str:
        return "0x" + format(self.number(index, 160), "040x")

    def follow(self, index: int, fixed: int, words: int) -> _Part:
        """The part at an offset, which is behind the `fixed` words, with `words` at least."""
        offset = self.number(index)
        if offset < fixed * _WORD or offset > len(self._data) or (len(self._data) - offset) // _WORD < words:
            raise Malformed("an offset is wrong")
        return _Part(self._data[offset:])

    def content(self, index: int, fixed: int) -> bytes:
        """A string, or bytes. Its padding is not looked at: contracts copy it from storage, where it may be anything."""
        part = self.follow(index, fixed, 1)
        length = part.number(0)
        if (length + _WORD - 1) // _WORD * _WORD > len(part._data) - _WORD:
            raise Malformed("a length is wrong")
        return part._data[_WORD : _WORD + length]


def _struct(data: bytes, words: int) -> _Part:
    if len(data) < _WORD or len(data) % _WORD:
        raise Malformed("not whole words")
    return _Part(data).follow(0, 1, words)


def instance(data: bytes) -> Instance:
    part = _struct(data, _INSTANCE_WORDS)
    part.address(3)  # operator
    url, pubkey = part.content(4, _INSTANCE_WORDS), part.content(5, _INSTANCE_WORDS)
    part.number(9, 63)  # registeredAt
    return Instance(
        id=part.number(0),
        app_id=part.number(1),
        version_id=part.number(2),
        url=_text(url) if len(url) <= _MAX_URL else None,
        pubkey=pubkey if len(pubkey) <= _MAX_PUBKEY else None,
        wallet=part.address(6),
        zk_verified=part.truth(7),
        status=part.number(8, 8),
    )


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def version(data: bytes) -> Version:
    part = _struct(data, _VERSION_WORDS)
    for index in (1, 3, 4, 5, 6):
        part.content(index, _VERSION_WORDS)
    part.address(9)
    return Version(part.number(0), part.number(7, 8))


def addresses(data: bytes) -> Sequence[str]:
    part = _struct(data, 1)
    count = part.number(0)
    if count > MAX_MEMBERS:
        raise Malformed(f"more than {MAX_MEMBERS} addresses")
    return [part.address(1 + i) for i in range(count)]


def number(data: bytes) -> int:
    return _Part(_one(data)).number(0)


def address(data: bytes) -> str:
    return _Part(_one(data)).address(0)


def _one(data: bytes) -> bytes:
    if len(data) != _WORD:
        raise Malformed("not one word")
    return data
