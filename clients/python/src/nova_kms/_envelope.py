"""P-384 keys, the channel between two of them, and envelopes (docs/protocol.md section 6)."""

from __future__ import annotations

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ._codec import Malformed, hex_decode, json_encode, json_object

_SPKI_PREFIX = bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200")
_POINT = 97  # bytes of an uncompressed point
_NONCE, _MIN_NONCE, _IV, _TAG = 32, 12, 12, 16
_MAX_MEMBERS = 16


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt or None, info=info).derive(secret)


def parse_pubkey(data: bytes) -> bytes:
    """The point of a teePubkey: exactly the SubjectPublicKeyInfo or the uncompressed point of a key of P-384."""
    point = data[len(_SPKI_PREFIX) :] if data.startswith(_SPKI_PREFIX) else data
    if len(point) != _POINT or point[0] != 4:
        raise Malformed("not a P-384 public key")
    public_key(point)
    return point


def der_of(point: bytes) -> bytes:
    """DER SubjectPublicKeyInfo of a point."""
    return _SPKI_PREFIX + point


def public_key(point: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a point; Malformed where it is not on the curve."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
    except ValueError:
        pass
    raise Malformed("not a P-384 public key")


class P384:
    """A P-384 key pair. point: the public half, uncompressed; pubkey: the same as DER SubjectPublicKeyInfo."""

    def __init__(self, scalar48: bytes) -> None:
        if len(scalar48) != 48:
            raise ValueError("a P-384 key has 48 bytes")
        self._key = ec.derive_private_key(int.from_bytes(scalar48, "big"), ec.SECP384R1())
        numbers = self._key.public_key().public_numbers()
        self.point = b"\x04" + numbers.x.to_bytes(48, "big") + numbers.y.to_bytes(48, "big")
        self.pubkey = der_of(self.point)

    def agree(self, point: bytes) -> bytes:
        """The x-coordinate of the agreement with another's key, 48 bytes."""
        return self._key.exchange(ec.ECDH(), public_key(point))


def write_envelope(sender: str, nonce: bytes, sealed: bytes) -> bytes:
    """An envelope, as JSON. sender: its teePubkey in hexadecimal digits."""
    return json_encode({"sender_tee_pubkey": sender, "nonce": nonce.hex(), "encrypted_data": sealed.hex()})


def read_envelope(body: bytes, sender_point: bytes) -> tuple[bytes, bytes]:
    """Nonce and ciphertext of an envelope that a key has sealed. Raises Malformed."""
    # Before it is parsed: it may be as long as a listing, and in version 1 anybody on the way can make it.
    if body.count(b",") > _MAX_MEMBERS:
        raise Malformed("not an envelope")
    envelope = json_object(body)
    texts = [envelope.get(name) for name in ("sender_tee_pubkey", "nonce", "encrypted_data")]
    sender, nonce, sealed = (hex_decode(text) if isinstance(text, str) else b"" for text in texts)
    if not hmac.compare_digest(parse_pubkey(sender), sender_point):
        raise Malformed("sealed by another key")
    if len(nonce) < _MIN_NONCE or len(sealed) < _TAG:
        raise Malformed("not an envelope")
    return nonce, sealed


class Channel:
    """Seals envelopes for one other key, and opens those that it sealed. Threads: any."""

    def __init__(self, own: P384, other_point: bytes) -> None:
        self._own = own.pubkey.hex()
        self._other = other_point
        self._aead = AESGCM(hkdf(own.agree(other_point), b"", b"encryption data"))

    def seal(self, plain: bytes) -> bytes:
        """The envelope, as JSON."""
        nonce = os.urandom(_NONCE)
        return write_envelope(self._own, nonce, self._aead.encrypt(nonce[:_IV], plain, None))

    def open(self, body: bytes) -> bytes:
        """What the other key sealed. Raises Malformed for everything else."""
        nonce, sealed = read_envelope(body, self._other)
        try:
            return self._aead.decrypt(nonce[:_IV], sealed, None)
        except InvalidTag:
            pass
        raise Malformed("does not decrypt")
