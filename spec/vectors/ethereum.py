"""Keccak-256, secp256k1, RLP and the contract ABI, written from their standards.

Slow and readable: the test vectors of this folder must not depend on the code that they test.
Never use this with keys that matter: nothing here is constant-time.
"""

import hashlib
import hmac

# ---- Keccak-256: FIPS 202's permutation with Ethereum's padding (0x01 instead of 0x06) ----

MASK64 = (1 << 64) - 1


def _rotate(lane, count):
    return ((lane << count) | (lane >> (64 - count))) & MASK64 if count else lane


def _round_constants():
    """Algorithm 5 of FIPS 202: a linear feedback shift register yields one bit per step."""
    register, constants = 1, []
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register <<= 1
            if register & 0x100:
                register ^= 0x171
        constants.append(constant)
    return constants


def _permute(lanes):
    for constant in _round_constants():
        parity = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
        for x in range(5):
            mixed = parity[(x - 1) % 5] ^ _rotate(parity[(x + 1) % 5], 1)
            for y in range(5):
                lanes[x][y] ^= mixed
        x, y, current = 1, 0, lanes[1][0]
        for t in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            current, lanes[x][y] = lanes[x][y], _rotate(current, (t + 1) * (t + 2) // 2 % 64)
        for y in range(5):
            row = [lanes[x][y] for x in range(5)]
            for x in range(5):
                lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & MASK64 & row[(x + 2) % 5])
        lanes[0][0] ^= constant


def keccak256(data):
    rate = 136
    padded = bytearray(data) + b"\x01" + bytes(-(len(data) + 1) % rate)
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for at in range(0, len(padded), rate):
        for i in range(rate // 8):
            lanes[i % 5][i // 5] ^= int.from_bytes(padded[at + 8 * i : at + 8 * i + 8], "little")
        _permute(lanes)
    return b"".join(lanes[i % 5][i // 5].to_bytes(8, "little") for i in range(4))


# ---- secp256k1 (SEC 2) ----

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def _add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def _multiply(scalar, point):
    total = None
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def public_key(private):
    x, y = _multiply(int.from_bytes(private, "big"), G)
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def address(private):
    return "0x" + keccak256(public_key(private)[1:])[12:].hex()


def _rfc6979_nonce(private, digest):
    """RFC 6979 section 3.2 with SHA-256; the digest has as many bits as the order."""
    reduced = (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
    v, k = b"\x01" * 32, b"\x00" * 32

    def mac(*parts):
        return hmac.new(k, b"".join(parts), hashlib.sha256).digest()

    for tag in (b"\x00", b"\x01"):
        k = mac(v, tag, private, reduced)
        v = mac(v)
    while True:
        v = mac(v)
        candidate = int.from_bytes(v, "big")
        if 0 < candidate < N:
            return candidate
        k = mac(v, b"\x00")
        v = mac(v)


def sign(private, digest):
    """r, s, recovery id: deterministic (RFC 6979), low s (EIP-2)."""
    nonce = _rfc6979_nonce(private, digest)
    x, y = _multiply(nonce, G)
    r = x % N
    s = pow(nonce, -1, N) * (int.from_bytes(digest, "big") + r * int.from_bytes(private, "big")) % N
    recovery = (y & 1) | (2 if x >= N else 0)
    if s > N // 2:
        s, recovery = N - s, recovery ^ 1
    return r, s, recovery


def signature_bytes(r, s, v):
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])


def eip191_digest(message):
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


# ---- RLP (Ethereum yellow paper, appendix B) and EIP-1559 transactions ----


def _length_prefix(length, offset):
    if length < 56:
        return bytes([offset + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([offset + 55 + len(size)]) + size


def rlp(item):
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, list):
        body = b"".join(rlp(element) for element in item)
        return _length_prefix(len(body), 0xC0) + body
    if len(item) == 1 and item[0] < 0x80:
        return item
    return _length_prefix(len(item), 0x80) + item


def transaction_1559(private, fields):
    """fields: chain id, nonce, priority fee, fee, gas, to, value, data, access list."""
    payload = b"\x02" + rlp(fields)
    r, s, parity = sign(private, keccak256(payload))
    raw = b"\x02" + rlp(fields + [parity, r, s])
    return payload, raw, keccak256(raw)


# ---- Contract ABI (Solidity documentation, "Contract ABI Specification") ----


def _split(types):
    """Element types of "(a,b,...)" at the outer level; no tuple in a tuple occurs here."""
    return types[1:-1].split(",") if types != "()" else []


def _is_dynamic(kind):
    if kind.startswith("("):
        return any(_is_dynamic(element) for element in _split(kind))
    return kind in ("string", "bytes") or kind.endswith("[]")


def _encode_tuple(kinds, values):
    heads, tail = [], b""
    size = 32 * len(kinds)
    for kind, value in zip(kinds, values, strict=True):
        encoded = encode_value(kind, value)
        if _is_dynamic(kind):
            heads.append((size + len(tail)).to_bytes(32, "big"))
            tail += encoded
        else:
            heads.append(encoded)
    return b"".join(heads) + tail


def encode_value(kind, value):
    if kind.startswith("("):
        return _encode_tuple(_split(kind), value)
    if kind.endswith("[]"):
        return len(value).to_bytes(32, "big") + _encode_tuple([kind[:-2]] * len(value), value)
    if kind in ("string", "bytes"):
        raw = value.encode() if kind == "string" else bytes.fromhex(value[2:])
        return len(raw).to_bytes(32, "big") + raw + bytes(-len(raw) % 32)
    if kind == "bool":
        return int(value).to_bytes(32, "big")
    if kind == "bytes32":
        return bytes.fromhex(value[2:])
    if kind == "address":
        return bytes(12) + bytes.fromhex(value[2:])
    return int(value).to_bytes(32, "big")  # uint256, uint8


def calldata(signature, arguments):
    kinds = _split(signature[signature.index("(") :])
    return keccak256(signature.encode())[:4] + _encode_tuple(kinds, arguments)


def returndata(kinds, values):
    return _encode_tuple(kinds, values)
