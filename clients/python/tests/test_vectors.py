"""Known answers of the project: signatures, envelopes, whole exchanges and whole sessions."""

import json
import unittest
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import vectors
from nova_kms import Identity, _abi
from nova_kms._codec import Malformed, hex_decode, json_object
from nova_kms._envelope import P384, Channel, hkdf, parse_pubkey
from nova_kms._session import Opening, agree, salt_of
from nova_kms._wallet import Wallet, is_signed_by, keccak256, signer_of


def x25519(hexadecimal: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(hexadecimal))


class Signatures(unittest.TestCase):
    def test_keccak256(self) -> None:
        for case in vectors.read("keccak256.json"):
            self.assertEqual(case["hash"], keccak256(bytes.fromhex(case["data"])).hex())

    def test_eip191(self) -> None:
        for case in vectors.read("eip191.json"):
            wallet, message = Wallet(bytes.fromhex(case["priv"])), case["message"].encode()
            self.assertEqual(case["address"], wallet.address)
            self.assertEqual(case["signature_v27"], wallet.sign(message))
            for signature in (case["signature"], case["signature_v27"], case["signature"][2:].upper()):
                self.assertEqual(case["address"], signer_of(message, signature))
            self.assertIsNone(signer_of(message, case["high_s"]))
            self.assertNotEqual(case["address"], signer_of(message + b"x", case["signature"]))

    def test_what_is_no_signature(self) -> None:
        zero, order = "00" * 32, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
        for text in (
            "",
            "0x",
            "zz" * 65,
            "11" * 64,
            "11" * 66,
            zero + "11" * 32 + "00",
            "11" * 32 + zero + "00",
            order + "11" * 32 + "1b",
            "11" * 64 + "02",
            "11" * 64 + "1a",
            "11" * 64 + "1d",
            "ff" * 65,
        ):
            self.assertIsNone(signer_of(b"m", text), text)
        self.assertFalse(is_signed_by("0x" + "11" * 20, b"m", None))


class Envelopes(unittest.TestCase):
    def test_known_answers(self) -> None:
        for case in vectors.read("envelope.json"):
            sender, receiver = P384(bytes.fromhex(case["sender_priv"])), P384(bytes.fromhex(case["receiver_priv"]))
            self.assertEqual(case["receiver_tee_pubkey"], receiver.pubkey.hex())
            self.assertEqual(case["shared_secret"], sender.agree(receiver.point).hex())
            opened = Channel(receiver, sender.point).open(json.dumps(case["envelope"]).encode())
            self.assertEqual(case["plaintext"], opened.decode())
            nonce = bytes.fromhex(case["envelope"]["nonce"])
            with mock.patch("nova_kms._envelope.os.urandom", return_value=nonce):
                sealed = json.loads(Channel(sender, receiver.point).seal(case["plaintext"].encode()))
            self.assertEqual(case["envelope"], sealed)

    def test_what_is_long_and_no_envelope_is_not_parsed(self) -> None:
        case = vectors.read("envelope.json")[0]
        receiver, sender = P384(bytes.fromhex(case["receiver_priv"])), P384(bytes.fromhex(case["sender_priv"]))
        channel = Channel(receiver, sender.point)
        for more, good in ((14, True), (15, False)):
            body = json.dumps(case["envelope"] | {f"m{i}": [] for i in range(more)}).encode()
            with mock.patch("nova_kms._envelope.json_object", wraps=json_object) as parse:
                if good:
                    channel.open(body)
                else:
                    self.assertRaises(Malformed, channel.open, body)
            self.assertEqual(good, parse.called)

    def test_whole_exchanges(self) -> None:
        seen = 0
        for case in vectors.read("exchange.json"):
            if case["caller"] != "app":
                continue
            seen += 1
            caller = Identity(bytes.fromhex(case["caller_wallet_priv"]), bytes.fromhex(case["caller_tee_priv"]))
            self.assertEqual(case["caller_wallet"], caller.wallet)
            self.assertEqual(case["caller_tee_pubkey"], caller.pubkey.hex())
            self.assertEqual(case["signature"], caller.sign(case["message"].encode()))
            signed = case["response_message"].encode()
            self.assertTrue(is_signed_by(case["node_wallet"], signed, case["response_signature"]))
            channel = caller.channel(parse_pubkey(hex_decode(case["node_tee_pubkey"])))
            self.assertEqual(case["reply"], channel.open(case["reply_body"].encode()).decode())
        self.assertGreater(seen, 3)


class Sessions(unittest.TestCase):
    def test_whole_sessions(self) -> None:
        case = next(case for case in vectors.read("session.json") if case["kind"] == "app")
        caller = Identity(bytes.fromhex(case["caller_wallet_priv"]), bytes.fromhex(case["caller_tee_priv"]))
        opening = Opening([], x25519(case["caller_e_priv"]))
        self.assertEqual(case["offer"], opening.offer.decode())
        self.assertEqual(case["signature"], caller.sign(case["message"].encode()))
        signed = case["answer_message"].encode()
        self.assertTrue(is_signed_by(case["node_wallet"], signed, case["answer_signature"]))
        shared = agree(x25519(case["caller_e_priv"]), bytes.fromhex(case["node_e"]))
        self.assertEqual(case["shared_secret"], shared.hex())
        bodies = [case[name].encode() for name in ("message", "request_body", "answer_body")]
        salt = salt_of(*bodies)
        self.assertEqual(case["salt"], salt.hex())
        for name in ("c2s", "s2c"):
            self.assertEqual(case[name], hkdf(shared, salt, b"nova-kms session " + name.encode()).hex())
        channel = caller.channel(parse_pubkey(hex_decode(case["node_tee_pubkey"])))
        keys = opening.finish(channel.open(bodies[2]), *bodies)
        self.assertEqual(case["sid"], keys.sid.hex())
        for number, message in enumerate(case["messages"], 1):
            keys._seq = int(message["seq"]) - 1
            sealed, seq = keys.seal(message["request_json"].encode(), int(message["time_ms"]))
            self.assertEqual(message["request"], sealed.hex(), number)
            self.assertEqual(message["answer_json"], keys.open(bytes.fromhex(message["answer"]), seq).decode())


class Registries(unittest.TestCase):
    def test_calls_and_results(self) -> None:
        decoders = {
            "getInstance": _abi.instance,
            "getInstanceByWallet": _abi.instance,
            "getVersion": _abi.version,
            "getActiveInstances": _abi.addresses,
            "kmsAppId": _abi.number,
            "operatorAt": _abi.address,
        }
        seen = set()
        for case in vectors.read("abi.json"):
            name = case["signature"].split("(")[0]
            if name not in decoders:
                continue
            seen.add(name)
            arguments = [a if a.startswith("0x") else int(a) for a in case["args"]]
            self.assertEqual(case["calldata"], _abi.call(case["signature"], *arguments))
            value, wanted = decoders[name](bytes.fromhex(case["data"][2:])), case["result"]
            if isinstance(value, _abi.Instance):
                self.assertEqual(
                    [wanted[i] for i in (0, 1, 2, 4, 6, 7, 8)],
                    [
                        str(value.id),
                        str(value.app_id),
                        str(value.version_id),
                        value.url,
                        value.wallet,
                        value.zk_verified,
                        str(value.status),
                    ],
                )
                self.assertEqual(wanted[5], "0x" + (value.pubkey or b"").hex())
            elif isinstance(value, _abi.Version):
                self.assertEqual([wanted[0], wanted[7]], [str(value.id), str(value.status)])
            else:
                self.assertEqual(wanted, str(value) if isinstance(value, int) else value)
        self.assertEqual(set(decoders), seen)


if __name__ == "__main__":
    unittest.main()
