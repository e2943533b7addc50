"""Shares of the master secret and age files, for share.json and age.json (docs/protocol.md section 16).

The field's arithmetic is by logarithms, as the node's is not; age files follow age-encryption.org/v1.
"""

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

import ethereum as eth
from protocol import Draw, canonical, hkdf

# ---- GF(2^8), by logarithms to the base 3 ----

EXP, LOG = [0] * 255, [0] * 256
_value = 1
for _power in range(255):
    EXP[_power], LOG[_value] = _value, _power
    _value ^= _value << 1
    if _value & 0x100:
        _value ^= 0x11B


def _mul(a, b):
    return EXP[(LOG[a] + LOG[b]) % 255] if a and b else 0


def _y(blocks, x):
    """The polynomial at x by Horner's rule, for each of the 32 bytes."""
    out = []
    for column in zip(*blocks):
        value = 0
        for coefficient in reversed(column):
            value = _mul(value, x) ^ coefficient
        out.append(value)
    return bytes(out)


# ---- age ----

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def _polymod(values):
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> i & 1 else 0
    return check


def recipient(public):
    bits = "".join(f"{byte:08b}" for byte in public) + "0000"
    data = [int(bits[at:at + 5], 2) for at in range(0, len(bits), 5)]
    prefix = [ord(c) >> 5 for c in "age"] + [0] + [ord(c) & 31 for c in "age"]
    check = _polymod(prefix + data + [0] * 6) ^ 1
    data += [check >> 5 * (5 - i) & 31 for i in range(6)]
    return "age1" + "".join(CHARSET[value] for value in data)


def _raw(key):
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _unpadded(data):
    return base64.b64encode(data).rstrip(b"=")


def _age_file(public, plain, ephemeral, file_key, nonce):
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    wrap = hkdf(shared, _raw(ephemeral) + public, b"age-encryption.org/v1/X25519", 32)
    header = (
        b"age-encryption.org/v1\n-> X25519 " + _unpadded(_raw(ephemeral)) + b"\n"
        + _unpadded(ChaCha20Poly1305(wrap).encrypt(bytes(12), file_key, None)) + b"\n---"
    )
    mac = hmac.new(hkdf(file_key, b"", b"header", 32), header, hashlib.sha256).digest()
    chunk = ChaCha20Poly1305(hkdf(file_key, nonce, b"payload", 32)).encrypt(bytes(11) + b"\1", plain, None)
    text = base64.b64encode(header + b" " + _unpadded(mac) + b"\n" + nonce + chunk).decode()
    lines = [text[at:at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN AGE ENCRYPTED FILE-----", *lines, "-----END AGE ENCRYPTED FILE-----", ""])


def age():
    draw, cases = Draw("age"), []
    for length in (0, 1, 29, 57, 83, 1024):
        scalar, ephemeral, file_key, nonce = draw.bytes(32), draw.bytes(32), draw.bytes(16), draw.bytes(16)
        public, plain = _raw(X25519PrivateKey.from_private_bytes(scalar)), draw.bytes(length)
        cases.append({
            "priv": scalar.hex(), "public": public.hex(), "recipient": recipient(public), "plain": plain.hex(),
            "ephemeral_priv": ephemeral.hex(), "file_key": file_key.hex(), "nonce": nonce.hex(),
            "file": _age_file(public, plain, X25519PrivateKey.from_private_bytes(ephemeral), file_key, nonce),
        })
    return cases


# ---- shares ----


def share():
    draw, cases = Draw("share"), []
    for threshold, count in ((2, 2), (2, 3), (3, 5), (16, 16), (8, 16)):
        master, day = draw.bytes(32), 20787 + len(cases)
        custodians = [
            {"key": recipient(_raw(X25519PrivateKey.from_private_bytes(draw.bytes(32)))), "name": f"custodian-{x}"}
            for x in range(1, count + 1)
        ]
        text = canonical({"custodians": custodians, "threshold": threshold})
        set_id = hashlib.sha256(text.encode()).digest()
        okm = hkdf(master, b"nova-kms:recovery", set_id, 32 * (threshold - 1))
        blocks = [master] + [okm[at:at + 32] for at in range(0, len(okm), 32)]
        shares = []
        for x in range(1, count + 1):
            head = b"NKR1" + set_id[:16] + bytes([threshold, count, x]) + day.to_bytes(4, "big")
            shares.append((head + eth.keccak256(master)[:24] + _y(blocks, x)).hex())
        cases.append({
            "master_secret": master.hex(), "hash": eth.keccak256(master).hex(), "threshold": str(threshold),
            "count": str(count), "day": str(day), "set": text, "set_id": set_id.hex(), "shares": shares,
        })
    return cases
