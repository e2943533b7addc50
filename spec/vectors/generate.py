#!/usr/bin/env python3
"""Writes the known answers of this folder. The same values at each run; --check only compares.

Independent of the node's code: P-384, X25519, AES-GCM, ChaCha20-Poly1305 and HKDF come from the `cryptography`
package (Debian: python3-cryptography), everything else from ethereum.py, protocol.py and recovery.py.
"""

import hashlib
import hmac
import json
import pathlib
import sys

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import ethereum as eth
from exchanges import examples, exchange
from protocol import Draw, canonical, der, derive, hkdf, scalar_hex, seal_envelope
from recovery import age, share
from sessions import example, session
from snapshots import snapshot

FOLDER = pathlib.Path(__file__).parent
MAX_U64 = 2**64 - 1


# ---- one function a file ----


def keccak256():
    draw = Draw("keccak256")
    # 135, 136 and 137 stand around the block size.
    lengths = [0, 1, 3, 31, 32, 64, 135, 136, 137, 271, 272, 273, 1000]
    inputs = [draw.bytes(length) for length in lengths] + [b"abc", b"Transfer(address,address,uint256)"]
    return [{"data": data.hex(), "hash": eth.keccak256(data).hex()} for data in inputs]


def eip191():
    draw, cases = Draw("eip191"), []
    messages = [
        "", "a", "hello world", "NovaKMS:AppAuth:bm9uY2U=:0x" + "ab" * 20 + ":1700000000",
        "NovaKMS:Response:0x" + "12" * 65 + ":0x" + "cd" * 20, "größe 中文 🔑", "x" * 9, "x" * 10, "x" * 1000,
    ]
    for message in messages:
        key = draw.wallet()
        digest = eth.eip191_digest(message.encode())
        r, s, v = eth.sign(key, digest)
        cases.append({
            "priv": key.hex(), "public_key": eth.public_key(key).hex(), "address": eth.address(key),
            "message": message, "digest": digest.hex(),
            "signature": "0x" + eth.signature_bytes(r, s, v).hex(),
            "signature_v27": "0x" + eth.signature_bytes(r, s, 27 + v).hex(),
            "high_s": "0x" + eth.signature_bytes(r, eth.N - s, v ^ 1).hex(),
        })
    return cases


def derive_cases():
    draw = Draw("derive")
    master = draw.bytes(32)
    asked = [
        (49, "data_key", "", 32), (0, "sync_hmac_key", "", 32), (1, "wallet/root", "", 32),
        (1, "wallet/root", "session", 32), (1, "wallet/root:session", "", 32), (1, "a b", "", 16),
        (2, "wallet/root", "", 32), (MAX_U64, "p", "c", 32), (2**63, "p", "", 64), (7, "größe/中文", "🔑", 48),
        (7, "a" * 4000, "b" * 4000, 33), (1000, "k", "", 1), (1000, "k", "", 31), (1000, "k", "", 1024),
        (1000, "data_key", "x", 32),
    ]
    return [
        {"master_secret": master.hex(), "app_id": str(app_id), "path": path, "context": context,
         "length": length, "key": derive(master, app_id, path, context, length).hex()}
        for app_id, path, context, length in asked
    ]


def envelope():
    draw, cases = Draw("envelope"), []
    texts = ["{}", '{"path":"wallet/root"}', '{"key":"größe","value":"AAEC"}', '{"a":"' + "x" * 3000 + '"}']
    for length in (32, 12, 16):
        for plaintext in texts:
            sender, receiver = draw.p384(), draw.p384()
            shared, body = seal_envelope(sender, receiver, draw.bytes(length), plaintext)
            cases.append({
                "sender_priv": scalar_hex(sender), "receiver_priv": scalar_hex(receiver),
                "receiver_tee_pubkey": der(receiver).hex(), "shared_secret": shared.hex(),
                "plaintext": plaintext, "envelope": body,
            })
    return cases


def sealed():
    """docs/protocol.md section 9: the master secret on its way to a newcomer."""
    draw, cases = Draw("sealed"), []
    for _ in range(4):
        master, requester, ephemeral, iv = draw.bytes(32), draw.p384(), draw.p384(), draw.bytes(12)
        shared = ephemeral.exchange(ec.ECDH(), requester.public_key())
        key = hkdf(shared, b"nova-kms:sealed-master-secret", b"aes-gcm-key", 32)
        cases.append({
            "master_secret": master.hex(), "requester_priv": scalar_hex(requester),
            "ecdh_pubkey": der(requester).hex(), "ephemeral_priv": scalar_hex(ephemeral),
            "sealed": {
                "ephemeral_pubkey": der(ephemeral).hex(),
                "encrypted_data": AESGCM(key).encrypt(iv, master, None).hex(), "nonce": iv.hex(),
            },
        })
    return cases


def record():
    """docs/protocol.md section 8: a stored value."""
    draw, cases = Draw("record"), []
    master = draw.bytes(32)
    for app_id, length in ((MAX_U64, 0), (1, 1), (49, 15), (49, 16), (2**63, 17), (1000, 1000)):
        key, iv, plain = derive(master, app_id, "data_key", "", 32), draw.bytes(12), draw.bytes(length)
        cases.append({
            "master_secret": master.hex(), "app_id": str(app_id), "data_key": key.hex(), "nonce": iv.hex(),
            "plaintext": plain.hex(), "record": (iv + AESGCM(key).encrypt(iv, plain, None)).hex(),
        })
    return cases


def canonical_cases():
    draw = Draw("canonical")
    key = draw.bytes(32)
    sources = [
        "{}", "[]", '""', "null", "[true,false,null]", '{ "b" : 1 , "a" : 2 }', '{"b":{"d":1,"c":[]},"a":{}}',
        '{"é":1,"z":2,"\\u007f":3}', '{"\\ud83d\\udd11":1,"\\uffff":2}', '"\\u0041\\u00e9\\/"',
        '"\\b\\f\\n\\r\\t\\"\\\\\\u0001\\u001f"', "[0,-1,9007199254740991,9223372036854775807,-9223372036854775808]",
        ' [ 1 , 2 ]\n', '{"nonce":"00","encrypted_data":"11","sender_tee_pubkey":"22"}',
        '{"a":"' + "x" * 500 + '"}', "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
    ]
    cases = []
    for source in sources:
        text = canonical(json.loads(source))
        mac = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        cases.append({"json": source, "canonical": text, "hmac_key": key.hex(), "hmac": mac})
    return cases


def tx1559():
    draw, cases = Draw("tx1559"), []
    for chain_id, nonce, to_index in ((8453, 0, 1), (84532, 1, 2), (1, 127, 3), (1, 128, 4), (31337, 300, 5), (2**40, 2**20, 6)):
        key, value_hash = draw.wallet(), draw.bytes(32)
        to = bytes(19) + bytes([to_index])
        priority, fee = draw.below(2**33), draw.below(2**40)
        data = eth.calldata("setMasterSecretHash(bytes32)", ["0x" + value_hash.hex()])
        payload, raw, digest = eth.transaction_1559(key, [chain_id, nonce, priority, fee, 300000, to, 0, data, []])
        cases.append({
            "priv": key.hex(), "from": eth.address(key), "chainId": str(chain_id), "nonce": str(nonce),
            "maxPriorityFeePerGas": str(priority), "maxFeePerGas": str(fee), "gasLimit": "300000",
            "to": "0x" + to.hex(), "value": "0", "data": "0x" + data.hex(), "signing_payload": "0x" + payload.hex(),
            "raw_transaction": "0x" + raw.hex(), "transaction_hash": "0x" + digest.hex(),
        })
    return cases


APP = "(uint256,address,bytes32,address,string,uint256,uint256,uint8)"
APP_WITH_WALLET = APP[:-1] + ",address)"
VERSION = "(uint256,string,bytes32,string,string,string,string,uint8,uint256,address)"
INSTANCE = "(uint256,uint256,uint256,address,string,bytes,address,bool,uint8,uint256)"


def _abi_value(draw, kind):
    if kind == "uint8":
        return str(draw.below(3))
    if kind == "uint256":
        return str(draw.below(2**53))
    if kind == "bool":
        return draw.below(2) == 1
    if kind == "address":
        return "0x" + draw.bytes(20).hex()
    if kind == "bytes32":
        return "0x" + draw.bytes(32).hex()
    if kind == "bytes":
        return "0x" + draw.bytes(120).hex()
    return "https://node-%d.example/größe" % draw.below(1000) + "x" * draw.below(60)


def _abi_result(draw, kind, index):
    if kind.endswith("[]"):
        return [_abi_value(draw, kind[:-2]) for _ in range((0, 1, 5)[index % 3])]
    if kind.startswith("("):
        return [_abi_value(draw, element) for element in kind[1:-1].split(",")]
    return _abi_value(draw, kind)


def abi():
    draw, cases = Draw("abi"), []
    calls = [
        ("NovaAppRegistry", "getApp(uint256)", APP), ("NovaAppRegistry", "getApp(uint256)", APP_WITH_WALLET),
        ("NovaAppRegistry", "getVersion(uint256,uint256)", VERSION),
        ("NovaAppRegistry", "getInstance(uint256)", INSTANCE),
        ("NovaAppRegistry", "getInstanceByWallet(address)", INSTANCE),
        ("NovaAppRegistry", "getActiveInstances(uint256)", "address[]"),
        ("NovaAppRegistry", "getInstancesForVersion(uint256,uint256)", "uint256[]"),
        ("KMSRegistry", "masterSecretHash()", "bytes32"), ("KMSRegistry", "kmsAppId()", "uint256"),
        ("KMSRegistry", "isOperator(address)", "bool"), ("KMSRegistry", "operatorCount()", "uint256"),
        ("KMSRegistry", "getOperators()", "address[]"), ("KMSRegistry", "operatorAt(uint256)", "address"),
        ("KMSRegistry", "setMasterSecretHash(bytes32)", None),
    ]
    for contract, signature, output in calls:
        for index in range(3):
            kinds = [kind for kind in signature[signature.index("(") + 1 : -1].split(",") if kind]
            arguments = [_abi_value(draw, kind) for kind in kinds]
            case = {
                "contract": contract, "signature": signature, "args": arguments,
                "outputs": [output] if output else [], "calldata": "0x" + eth.calldata(signature, arguments).hex(),
            }
            if output:
                case["result"] = _abi_result(draw, output, index)
                case["data"] = "0x" + eth.returndata([output], [case["result"]]).hex()
            cases.append(case)
    return cases


def _order(a, b):
    nodes = set(a) | set(b)
    after = any(a.get(node, 0) > b.get(node, 0) for node in nodes)
    before = any(a.get(node, 0) < b.get(node, 0) for node in nodes)
    return "concurrent" if after and before else "after" if after else "before" if before else "equal"


def _merge(existing, incoming):
    """The table of docs/protocol.md section 8."""
    order = _order(incoming["version"], existing["version"])
    if order == "equal":
        return order, "ignored_equal_version", existing
    if order == "before":
        return order, "ignored_existing_newer_version", existing
    if order == "after":
        return order, "replaced_by_version", incoming
    # Compared as bytes; a tombstone has none.
    ranks = [(r["updated_at_ms"], bytes.fromhex(r["value"] or "")) for r in (incoming, existing)]
    if ranks[0] <= ranks[1]:
        return order, "ignored_concurrent_tie_break", existing
    nodes = set(existing["version"]) | set(incoming["version"])
    joined = {n: max(existing["version"].get(n, 0), incoming["version"].get(n, 0)) for n in sorted(nodes)}
    return order, "replaced_by_concurrent_lww", dict(incoming, version=joined)


def merge():
    draw, cases = Draw("merge"), []

    def version():
        # A zero counts like an absent entry.
        return {node: draw.below(4) for node in "abc" if draw.below(3)} or {"a": 1}

    def one(stamp):
        dead = draw.below(4) == 0
        return {
            "key": "k", "value": None if dead else draw.bytes(2).hex(), "version": version(),
            "updated_at_ms": stamp, "tombstone": dead, "ttl_ms": 0,
        }

    while len(cases) < 48:
        existing, incoming = one(1000 + draw.below(2)), one(1000 + draw.below(2))
        order, outcome, result = _merge(existing, incoming)
        if sum(case["outcome"] == outcome for case in cases) == 12:
            continue
        cases.append({
            "existing": existing, "incoming": incoming, "order": order, "outcome": outcome, "result": result,
        })
    return cases


FILES = {
    "keccak256": keccak256, "eip191": eip191, "derive": derive_cases, "envelope": envelope, "sealed": sealed,
    "record": record, "canonical": canonical_cases, "tx1559": tx1559, "abi": abi, "merge": merge, "exchange": exchange,
    "session": session, "snapshot": snapshot, "age": age, "share": share,
}


def outputs():
    """Path and text of every file."""
    for name, cases in FILES.items():
        yield FOLDER / f"{name}.json", json.dumps(cases(), ensure_ascii=True, indent=1) + "\n"
    yield FOLDER.parent.parent / "docs" / "protocol-examples.md", examples() + example()


def main():
    checking, different = sys.argv[1:] == ["--check"], 0
    for path, text in outputs():
        if not checking:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path.name} is not what generate.py writes")
            different = 1
    return different


if __name__ == "__main__":
    sys.exit(main())
