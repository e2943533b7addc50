"""Wallets: Ethereum addresses and EIP-191 signatures (docs/protocol.md section 1)."""

from __future__ import annotations

import hmac

import coincurve
from Crypto.Hash import keccak

from ._codec import Malformed, hex_decode

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HALF_ORDER = _ORDER // 2


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def _digest(message: bytes) -> bytes:
    return keccak256(b"\x19Ethereum Signed Message:\n%d" % len(message) + message)


def _address(key: coincurve.PublicKey) -> str:
    return "0x" + keccak256(key.format(compressed=False)[1:])[-20:].hex()


def parse_address(text: str) -> str:
    """The canonical form of an address."""
    return "0x" + hex_decode(text, 20).hex()


class Wallet:
    """A secp256k1 key that signs. address: its wallet, in canonical form."""

    def __init__(self, secret32: bytes) -> None:
        if len(secret32) != 32:
            raise ValueError("a wallet's key has 32 bytes")
        self._key = coincurve.PrivateKey(secret32)
        self.address = _address(self._key.public_key)

    def sign(self, message: bytes) -> str:
        """The EIP-191 signature (RFC 6979, low s): 0x and 130 digits, v of 27 or 28."""
        signature = self._key.sign_recoverable(_digest(message), hasher=None)
        return "0x" + signature[:64].hex() + format(signature[64] + 27, "02x")


def signer_of(message: bytes, signature: str) -> str | None:
    """The wallet that signed a message; None where the signature is none."""
    try:
        raw = hex_decode(signature, 65)
    except Malformed:
        return None
    r, s, v = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big"), raw[64]
    v = v - 27 if v in (27, 28) else v
    if not 0 < r < _ORDER or not 0 < s <= _HALF_ORDER or v > 1:
        return None
    try:
        key = coincurve.PublicKey.from_signature_and_message(raw[:64] + bytes([v]), _digest(message), hasher=None)
    except Exception:  # coincurve raises plain Exception where no key fits
        return None
    return _address(key)


def is_signed_by(address: str, message: bytes, signature: str | None) -> bool:
    signer = signer_of(message, signature) if signature is not None else None
    return signer is not None and hmac.compare_digest(signer, address)
