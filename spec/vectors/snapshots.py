"""Files of sealed snapshots (docs/snapshots.md)."""

import hashlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol import Draw, derive, hkdf

MAGIC = b"NKS1"
CHUNK = 4 << 20
RECORDS, MANIFEST = 1, 2


def pattern(length):
    """The page of a length: its byte i is i modulo 251."""
    return bytes(i % 251 for i in range(251)) * (length // 251) + bytes(i % 251 for i in range(length % 251))


def seal_file(master, kind, wallet, sequence, salt, plain):
    """Returns the file's key and the file."""
    info = b"nova-kms:snapshot:" + bytes([kind]) + wallet + sequence.to_bytes(8, "big")
    key = hkdf(derive(master, 0, "snapshot_key", "", 32), salt, info, 32)
    chunks = [plain[at : at + CHUNK] for at in range(0, len(plain), CHUNK)] or [b""]
    file = MAGIC + salt
    for number, chunk in enumerate(chunks):
        iv = bytes(7) + number.to_bytes(4, "big") + bytes([number == len(chunks) - 1])
        file += AESGCM(key).encrypt(iv, chunk, MAGIC)
    return key, file


def snapshot():
    draw, cases = Draw("snapshot"), []
    asked = [
        (RECORDS, 1, [0]), (RECORDS, 1700000000000, []), (RECORDS, 1700000000001, [1, 0, 300]), (MANIFEST, 2**63 + 5, [40]),
        # Just below, at and beyond the end of a chunk; pages across two of them.
        (RECORDS, 7, [CHUNK - 5]), (RECORDS, 7, [CHUNK - 4]), (RECORDS, 7, [CHUNK - 3]),
        (RECORDS, 8, [CHUNK - 10, 3, 5000000, 17]), (MANIFEST, 2**64 - 1, [2 * CHUNK]),
    ]
    for kind, sequence, lengths in asked:
        master, wallet, salt = draw.bytes(32), draw.bytes(20), draw.bytes(32)
        plain = b""
        for length in lengths:
            plain += (length.to_bytes(4, "big") if kind == RECORDS else b"") + pattern(length)
        key, file = seal_file(master, kind, wallet, sequence, salt, plain)
        case = {
            "master_secret": master.hex(), "kind": str(kind), "wallet": wallet.hex(), "sequence": str(sequence),
            "salt": salt.hex(), "file_key": key.hex(), "page_lengths": [str(length) for length in lengths],
            "size": str(len(file)), "sha256": hashlib.sha256(file).hexdigest(),
        }
        if len(file) < 1000:
            case["file"] = file.hex()
        cases.append(case)
    return cases
