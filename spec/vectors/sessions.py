"""Whole sessions, of an application and of a member, for session.json: the opening, its keys, and messages both ways."""

import hashlib
import hmac

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from exchanges import Party, TIMESTAMP
from protocol import Draw, canonical, derive, hkdf, seal_envelope

SUITE = "x25519-sha256-aes256gcm"
TIME_MS = 1700000000123


class Ephemeral:
    def __init__(self, draw):
        self.scalar = draw.bytes(32)
        self.key = X25519PrivateKey.from_private_bytes(self.scalar)
        self.public = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def agree(self, other):
        return self.key.exchange(X25519PublicKey.from_public_bytes(other.public))


def _with_length(data):
    return len(data).to_bytes(8, "big") + data


def _content(time_ms, text):
    plain = time_ms.to_bytes(8, "big") + len(text).to_bytes(4, "big") + text
    return plain + bytes(-len(plain) % 256)


def _sealed(key, sid, seq, plain):
    number = seq.to_bytes(8, "big")
    return AESGCM(key).encrypt(bytes(4) + number, plain, b"nova-kms" + sid + number)


def _messages(c2s, s2c, sid, salt, sync_key):
    texts = [
        (1, '{"op":"list"}', '{"app_id":1000,"count":0,"keys":[],"status":200}'),
        # What fills a unit of padding, and one byte more.
        (2, '{"a":"' + "x" * (244 - 8) + '"}', '{"a":"' + "x" * (245 - 8) + '"}'),
        (300, '[{"op":"get","key":"größe"}]', '[{"code":"not_found","message":"not found","status":404}]'),
        (2**32, '{"a":"' + "y" * 1000 + '"}', "[]"),
    ]
    cases = []
    for seq, request, answer in texts:
        number = seq.to_bytes(8, "big")
        cases.append({
            "seq": str(seq), "time_ms": str(TIME_MS + seq), "request_json": request, "answer_json": answer,
            "request": (sid + number + _sealed(c2s, sid, seq, _content(TIME_MS + seq, request.encode()))).hex(),
            "answer": (number + _sealed(s2c, sid, seq, _content(TIME_MS + seq, answer.encode()))).hex(),
            "mac": hmac.new(sync_key, b"nova-kms:session-mac:" + salt + number, hashlib.sha256).hexdigest(),
        })
    return cases


def _session(draw, master, kind):
    caller, node = Party(draw), Party(draw)
    caller_e, node_e, sid = Ephemeral(draw), Ephemeral(draw), draw.bytes(16)
    nonce = draw.bytes(16)
    offer = {"e": caller_e.public.hex(), "op": "session", "suite": SUITE}
    if kind == "peer":
        offer["ends"] = [draw.bytes(16).hex(), draw.bytes(16).hex()]
    grant = {
        "e": node_e.public.hex(), "expires_s": 3600, "max_operations": 256, "sid": sid.hex(), "suite": SUITE,
    }
    request_body = canonical(seal_envelope(caller.tee_key, node.tee_key, draw.bytes(32), canonical(offer))[1])
    answer_body = canonical(seal_envelope(node.tee_key, caller.tee_key, draw.bytes(32), canonical(grant))[1])

    domain = "AppSession" if kind == "app" else "PeerSession"
    body_hash = hashlib.sha256(request_body.encode()).hexdigest()
    message = f"NovaKMS:{domain}:{nonce.hex()}:{node.wallet}:{TIMESTAMP}:{body_hash}"
    signature = caller.sign(message)
    answer_hash = hashlib.sha256(answer_body.encode()).hexdigest()
    answer_message = f"NovaKMS:SessionAnswer:{signature}:{node.wallet}:{answer_hash}"

    shared = caller_e.agree(node_e)
    parts = [message.encode(), request_body.encode(), answer_body.encode()]
    salt = hashlib.sha256(b"".join(_with_length(part) for part in parts)).digest()
    c2s = hkdf(shared, salt, b"nova-kms session c2s", 32)
    s2c = hkdf(shared, salt, b"nova-kms session s2c", 32)
    sync_key = derive(master, 0, "sync_hmac_key", "", 32)
    return {
        "kind": kind, **caller.members("caller"), **node.members("node"), "master_secret": master.hex(),
        "nonce": nonce.hex(), "timestamp": str(TIMESTAMP),
        "caller_e_priv": caller_e.scalar.hex(), "caller_e": caller_e.public.hex(),
        "node_e_priv": node_e.scalar.hex(), "node_e": node_e.public.hex(), "sid": sid.hex(),
        "offer": canonical(offer), "request_body": request_body, "message": message, "signature": signature,
        "grant": canonical(grant), "answer_body": answer_body, "answer_message": answer_message,
        "answer_signature": node.sign(answer_message),
        "shared_secret": shared.hex(), "salt": salt.hex(), "c2s": c2s.hex(), "s2c": s2c.hex(),
        "messages": _messages(c2s, s2c, sid, salt, sync_key),
    }


def _folded(text):
    return "\n".join(text[at:at + 110] for at in range(0, len(text), 110))


def example():
    """The application's session as the last section of docs/protocol-examples.md."""
    case = session()[0]
    message = case["messages"][0]
    rows = [
        ("application", "wallet private key", "caller_wallet_priv"), ("application", "wallet", "caller_wallet"),
        ("application", "P-384 private key", "caller_tee_priv"), ("node", "wallet private key", "node_wallet_priv"),
        ("node", "wallet", "node_wallet"), ("node", "P-384 private key", "node_tee_priv"),
        ("application", "e, private", "caller_e_priv"), ("node", "e, private", "node_e_priv"),
        ("both", "X25519 of the two", "shared_secret"), ("both", "salt", "salt"), ("both", "c2s", "c2s"),
        ("both", "s2c", "s2c"), ("both", "sid", "sid"),
    ]
    lines = ["## A session of an application", "", "| who | what | value |", "| --- | --- | --- |"]
    lines += [f"| {who} | {what} | `{case[name]}` |" for who, what, name in rows]
    for title, text in [
        ("The offer, sealed in the body of POST /session", case["offer"]), ("Request body", case["request_body"]),
        ("What the application signs", case["message"]), ("X-App-Signature", case["signature"]),
        ("The grant", case["grant"]), ("Answer body", case["answer_body"]),
        ("What the node signs", case["answer_message"]), ("X-KMS-Session-Signature", case["answer_signature"]),
        (f"Message {message['seq']} at {message['time_ms']} ms", message["request_json"]),
        ("Body of POST /session/message, in hex", message["request"]), ("Its answer", message["answer_json"]),
        ("Body of the answer, in hex", message["answer"]),
    ]:
        lines += ["", f"{title}:", "", "```", _folded(text), "```"]
    return "\n" + "\n".join(lines) + "\n"


def session():
    draw = Draw("session")
    master = draw.bytes(32)
    return [_session(draw, master, kind) for kind in ("app", "peer")]
