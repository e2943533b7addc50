"""What the generators of this folder share: reproducible draws and the protocol's constructions."""

import hashlib
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import ethereum as eth

SEED = b"nova-kms test vectors, 1"


class Draw:
    """Reproducible bytes: SHA-256 over the seed, a label and a counter."""

    def __init__(self, label):
        self.label, self.count = label.encode(), 0

    def bytes(self, length):
        out = b""
        while len(out) < length:
            self.count += 1
            out += hashlib.sha256(SEED + b"/" + self.label + b"/%d" % self.count).digest()
        return out[:length]

    def below(self, limit):
        return int.from_bytes(self.bytes(16), "big") % limit

    def wallet(self):
        return (1 + int.from_bytes(self.bytes(40), "big") % (eth.N - 1)).to_bytes(32, "big")

    def p384(self):
        order = 2**384 - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D
        return ec.derive_private_key(1 + int.from_bytes(self.bytes(56), "big") % (order - 1), ec.SECP384R1())


def scalar_hex(key):
    return f"{key.private_numbers().private_value:096x}"


def der(key):
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def hkdf(secret, salt, info, length):
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


def derive(master, app_id, path, context, length):
    """docs/protocol.md section 7."""
    info = f"{path}:{context}" if context else path
    return hkdf(master, f"nova-kms:app:{app_id}".encode(), info.encode(), length)


def canonical(value):
    """docs/protocol.md section 6: keys sorted bytewise as UTF-8, no spaces, no escapes beyond JSON's own."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-8"))
        return "{" + ",".join(canonical(key) + ":" + canonical(value[key]) for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(element) for element in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def seal_envelope(sender, receiver, nonce, plaintext):
    """docs/protocol.md section 6."""
    shared = sender.exchange(ec.ECDH(), receiver.public_key())
    key = hkdf(shared, None, b"encryption data", 32)
    sealed = AESGCM(key).encrypt(nonce[:12], plaintext.encode(), None)
    return shared, {"sender_tee_pubkey": der(sender).hex(), "nonce": nonce.hex(), "encrypted_data": sealed.hex()}
