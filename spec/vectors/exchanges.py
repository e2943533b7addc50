"""Whole exchanges, one of each operation, for exchange.json and docs/protocol-examples.md."""

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import ethereum as eth
from protocol import Draw, canonical, der, derive, hkdf, scalar_hex, seal_envelope


class Party:
    """An identity of the worked exchanges."""

    def __init__(self, draw):
        self.wallet_key, self.tee_key = draw.wallet(), draw.p384()
        self.wallet = eth.address(self.wallet_key)

    def sign(self, message):
        r, s, v = eth.sign(self.wallet_key, eth.eip191_digest(message.encode()))
        return "0x" + eth.signature_bytes(r, s, 27 + v).hex()

    def members(self, role):
        return {
            f"{role}_wallet_priv": self.wallet_key.hex(), f"{role}_wallet": self.wallet,
            f"{role}_tee_priv": scalar_hex(self.tee_key), f"{role}_tee_pubkey": der(self.tee_key).hex(),
        }


APP_ID, TIMESTAMP, STAMP_MS = 1000, 1700000000, 1700000000123


def _inner_exchanges(draw, master, peer):
    """name, method, target, inner request (None: no body), inner reply; without `pop`."""
    key = base64.b64encode(derive(master, APP_ID, "wallet/root", "", 32)).decode()
    value = base64.b64encode(b"postgres://db").decode()
    data_key = derive(master, APP_ID, "data_key", "", 32)
    iv = draw.bytes(12)
    stored = {
        "key": "config/db", "value": (iv + AESGCM(data_key).encrypt(iv, b"postgres://db", None)).hex(),
        "version": {peer.wallet: 1}, "updated_at_ms": STAMP_MS, "tombstone": False, "ttl_ms": 0,
    }
    gone = {
        "key": "old", "value": None, "version": {peer.wallet: 2}, "updated_at_ms": STAMP_MS, "tombstone": True,
        "ttl_ms": 0,
    }
    requester, ephemeral, seal_iv = draw.p384(), draw.p384(), draw.bytes(12)
    seal_key = hkdf(
        ephemeral.exchange(ec.ECDH(), requester.public_key()), b"nova-kms:sealed-master-secret", b"aes-gcm-key", 32
    )
    sealed_secret = {
        "ephemeral_pubkey": der(ephemeral).hex(), "nonce": seal_iv.hex(),
        "encrypted_data": AESGCM(seal_key).encrypt(seal_iv, master, None).hex(),
    }
    sender = {"sender_wallet": peer.wallet}
    counts = {
        "status": "ok", "total": 2, "merged": 2, "skipped": 0, "rejected": 0, "skip_reasons": {"inserted": 2},
    }
    return [
        ("derive", "POST", "/kms/derive", {"op": "derive", "path": "wallet/root", "length": 32},
         {"app_id": APP_ID, "path": "wallet/root", "key": key, "length": 32}),
        ("put", "PUT", "/kms/data", {"op": "put", "key": "config/db", "value": value, "ttl_ms": 0},
         {"app_id": APP_ID, "key": "config/db", "updated_at_ms": STAMP_MS}),
        ("get", "GET", "/kms/data/config%2Fdb", None,
         {"app_id": APP_ID, "key": "config/db", "value": value, "updated_at_ms": STAMP_MS}),
        ("list", "GET", "/kms/data", None, {"app_id": APP_ID, "keys": ["config/db"], "count": 1}),
        ("delete", "DELETE", "/kms/data", {"op": "delete", "key": "config/db"},
         {"app_id": APP_ID, "key": "config/db", "deleted": True}),
        ("delta", "POST", "/sync", {"type": "delta", "data": {str(APP_ID): [stored, gone]}, **sender}, counts),
        ("snapshot_request", "POST", "/sync", {"type": "snapshot_request", **sender},
         {"status": "ok", "complete": True, "data": {str(APP_ID): [stored, gone]}}),
        ("master_secret_request", "POST", "/sync",
         {"type": "master_secret_request", "ecdh_pubkey": der(requester).hex(), **sender},
         {"status": "ok", "sealed": sealed_secret}),
    ]


def exchange():
    """One exchange of each operation, from its nonce to its verified reply (docs/protocol-examples.md)."""
    draw, cases = Draw("exchange"), []
    app, node, peer, master = Party(draw), Party(draw), Party(draw), draw.bytes(32)
    sync_key = derive(master, 0, "sync_hmac_key", "", 32)
    for name, method, target, request, reply in _inner_exchanges(draw, master, peer):
        is_sync = target == "/sync"
        caller, role, domain = (peer, "peer", "Auth") if is_sync else (app, "app", "AppAuth")
        nonce = base64.b64encode(draw.bytes(16)).decode()
        message = f"NovaKMS:{domain}:{nonce}:{node.wallet}:{TIMESTAMP}"
        signature = caller.sign(message)
        shared = caller.tee_key.exchange(ec.ECDH(), node.tee_key.public_key())
        case = {"name": name, "method": method, "target": target, "caller": role}
        case |= caller.members("caller") | node.members("node")
        case |= {
            "master_secret": master.hex(), "app_id": str(APP_ID), "nonce": nonce, "timestamp": str(TIMESTAMP),
            "message": message, "signature": signature, "shared_secret": shared.hex(),
            "channel_key": hkdf(shared, None, b"encryption data", 32).hex(),
        }
        if request is not None:
            case["request"] = canonical({**request, "pop": signature})
            body = canonical(seal_envelope(caller.tee_key, node.tee_key, draw.bytes(32), case["request"])[1])
            case["request_body"] = body
            if is_sync and name != "master_secret_request":
                case["sync_signature"] = hmac.new(sync_key, body.encode(), hashlib.sha256).hexdigest()
            reply = {**reply, "pop": signature}
        case["reply"] = canonical(reply)
        case["reply_body"] = canonical(seal_envelope(node.tee_key, caller.tee_key, draw.bytes(32), case["reply"])[1])
        case["response_message"] = f"NovaKMS:Response:{signature}:{node.wallet}"
        case["response_signature"] = node.sign(case["response_message"])
        cases.append(case)
    return cases


# ---- docs/protocol-examples.md ----

HEADERS = {
    "app": ("X-App-Signature", "X-App-Nonce", "X-App-Timestamp", "X-KMS-Response-Signature"),
    "peer": ("X-KMS-Signature", "X-KMS-Nonce", "X-KMS-Timestamp", "X-KMS-Peer-Signature"),
}


def _folded(text):
    return "\n".join(text[at : at + 110] for at in range(0, len(text), 110))


def _example(case):
    signature, nonce, stamp, response = HEADERS[case["caller"]]
    lines = [f"## {case['name']}", "", "The caller signs (EIP-191):", "", "```", case["message"], "```", ""]
    head = f"{case['method']} {case['target']} HTTP/1.1\n{signature}: {case['signature']}\n"
    head += f"{nonce}: {case['nonce']}\n{stamp}: {case['timestamp']}"
    if "sync_signature" in case:
        head += f"\nX-Sync-Signature: {case['sync_signature']}"
    if "request" in case:
        lines += ["Inner request:", "", "```json", _folded(case["request"]), "```", ""]
        head += f"\nContent-Type: application/json\n\n{_folded(case['request_body'])}"
    lines += ["Request:", "", "```", head, "```", "", "Inner reply:", "", "```json", _folded(case["reply"]), "```", ""]
    lines += ["Reply; the node signs `" + case["response_message"][:17] + "<signature above>:<node wallet>`:", ""]
    lines += ["```", f"HTTP/1.1 200 OK\n{response}: {case['response_signature']}\n", _folded(case["reply_body"]), "```", ""]
    return "\n".join(lines)


def examples():
    cases = exchange()
    parties = [("application", cases[0], "caller"), ("peer", cases[5], "caller"), ("node", cases[0], "node")]
    lines = [
        "# Protocol: one exchange of each operation", "",
        "spec/vectors/generate.py writes this page; spec/vectors/exchange.json has the same values for programs. Long",
        "values are folded at 110 characters; on the wire they are one line. [protocol.md](protocol.md) explains each step.",
        "", "| who | what | value |", "| --- | --- | --- |",
    ]
    for name, case, role in parties:
        lines += [
            f"| {name} | wallet private key | `{case[role + '_wallet_priv']}` |",
            f"| {name} | wallet | `{case[role + '_wallet']}` |",
            f"| {name} | P-384 private key | `{case[role + '_tee_priv']}` |",
            f"| {name} | teePubkey (DER) | `{case[role + '_tee_pubkey']}` |",
        ]
    lines += [
        f"| application, node | ECDH x-coordinate | `{cases[0]['shared_secret']}` |",
        f"| application, node | channel key | `{cases[0]['channel_key']}` |",
        f"| peer, node | channel key | `{cases[5]['channel_key']}` |",
        f"| cluster | master secret | `{cases[0]['master_secret']}` |",
        f"| application | app id | {APP_ID} |", "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(_example(case) for case in cases)
