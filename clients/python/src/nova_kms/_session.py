"""The key schedule and messages of a session (docs/protocol.md section 15). No network, no clock."""

from __future__ import annotations

import hashlib
import threading

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ._codec import Json, Malformed, hex_decode, json_encode, json_object
from ._envelope import hkdf

SUITE = "x25519-sha256-aes256gcm"
SID, TAG, UNIT = 16, 16, 256  # bytes: of a sid, of a tag, and what a plaintext is a multiple of
MAX_SEQ = 1 << 32
MAX_ENDS = 8  # sessions that an opening ends
MAX_OPERATIONS = 256  # of a message, whatever a node grants
_MAX_LIFE_S = 604_800  # of a session, likewise
_HEAD = 12  # bytes before the JSON of a message
_FIELD = (1 << 255) - 19


def salt_of(signed_text: bytes, request_body: bytes, answer_body: bytes) -> bytes:
    parts = (signed_text, request_body, answer_body)
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def agree(own: X25519PrivateKey, other: bytes) -> bytes:
    """X25519 with an `e` in its shortest spelling; Malformed for any other, and for an agreement on zero."""
    if len(other) != 32 or int.from_bytes(other, "little") >= _FIELD:
        raise Malformed("not an ephemeral key")
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:  # of small order
        shared = bytes(32)
    if not any(shared):
        raise Malformed("not an ephemeral key")
    return shared


class Opening:
    """A caller's half of an opening."""

    def __init__(self, ends: list[bytes], ephemeral: X25519PrivateKey | None = None) -> None:
        """ends: sids of sessions that were given up, at most MAX_ENDS. ephemeral: for known answers alone."""
        self._own = ephemeral or X25519PrivateKey.generate()
        offer: dict[str, object] = {"e": self._own.public_key().public_bytes_raw().hex(), "op": "session", "suite": SUITE}
        if ends:
            offer["ends"] = [sid.hex() for sid in ends]
        self.offer = json_encode(offer)

    def finish(self, grant: bytes, signed_text: bytes, request_body: bytes, answer_body: bytes) -> SessionKeys:
        """The session that an answer grants, whose signature and sender were verified. Raises Malformed."""
        members = json_object(grant)
        if members.get("suite") != SUITE:
            raise Malformed("another suite")
        shared = agree(self._own, _bytes(members, "e", 32))
        salt = salt_of(signed_text, request_body, answer_body)
        return SessionKeys(
            sid=_bytes(members, "sid", SID),
            c2s=hkdf(shared, salt, b"nova-kms session c2s"),
            s2c=hkdf(shared, salt, b"nova-kms session s2c"),
            expires_s=min(_count(members, "expires_s"), _MAX_LIFE_S),
            max_operations=min(_count(members, "max_operations"), MAX_OPERATIONS),
        )


def _bytes(members: dict[str, Json], name: str, length: int) -> bytes:
    text = members.get(name)
    if not isinstance(text, str):
        raise Malformed(f"no {name}")
    return hex_decode(text, length)


def _count(members: dict[str, Json], name: str) -> int:
    number = members.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
        raise Malformed(f"no {name}")
    return number


class SessionKeys:
    """The keys of a session, and its next number. Threads: any."""

    def __init__(self, sid: bytes, c2s: bytes, s2c: bytes, expires_s: int, max_operations: int) -> None:
        self.sid, self.expires_s, self.max_operations = sid, expires_s, max_operations
        self._c2s, self._s2c = AESGCM(c2s), AESGCM(s2c)
        self._lock, self._seq = threading.Lock(), 0

    def _take(self) -> int:
        with self._lock:
            if self._seq >= MAX_SEQ:
                raise OverflowError("the session is used up")
            self._seq += 1
            return self._seq

    def seal(self, text: bytes, time_ms: int) -> tuple[bytes, int]:
        """A message, and its number, which is never used again. OverflowError: the session is used up."""
        content = time_ms.to_bytes(8, "big") + len(text).to_bytes(4, "big") + text
        content += bytes(-len(content) % UNIT)
        seq = self._take()
        label = self.sid + seq.to_bytes(8, "big")
        return label + self._c2s.encrypt(_iv(seq), content, b"nova-kms" + label), seq

    def open(self, body: bytes, seq: int) -> bytes:
        """The JSON of the answer to the message with this number; Malformed for anything else."""
        label = seq.to_bytes(8, "big")
        if len(body) < 8 + UNIT + TAG or body[:8] != label:
            raise Malformed("not the answer to this message")
        content = b""
        try:
            content = self._s2c.decrypt(_iv(seq), body[8:], b"nova-kms" + self.sid + label)
        except InvalidTag:
            pass
        if not content or len(content) % UNIT:
            raise Malformed("not the answer to this message")
        end = _HEAD + int.from_bytes(content[8:_HEAD], "big")
        padding = content[end:]
        if end > len(content) or len(padding) >= UNIT or any(padding):
            raise Malformed("an answer with wrong padding")
        return content[_HEAD:end]


def _iv(seq: int) -> bytes:
    return bytes(4) + seq.to_bytes(8, "big")
