"""The list of nodes from a chain that is honest, odd or lies."""

import json
import socket
import time
import unittest
from typing import Any, ClassVar

import nova_kms as kms
from nova_kms import _abi
from nova_kms._codec import Malformed
from servers import Server, reply

KMS, APPS = "0x" + "aa" * 20, "0x" + "bb" * 20
KEY = kms.Identity.from_seed(b"n" * 32).pubkey


def word(value: int | str) -> str:
    return format(int(value, 16) if isinstance(value, str) else value, "064x")


def text(data: bytes) -> str:
    return word(len(data)) + data.hex() + "00" * (-len(data) % 32)


def struct(*fields: int | str | bytes) -> str:
    head, tail = "", ""
    for field in fields:
        if isinstance(field, bytes):
            head += word(32 * len(fields) + len(tail) // 2)
            tail += text(field)
        else:
            head += word(field)
    return word(32) + head + tail


def instance(member: str, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "id": 5,
        "app_id": 9,
        "version_id": 3,
        "operator": KMS,
        "url": b"https://node.example",
        "pubkey": KEY,
        "wallet": member,
        "zk_verified": 1,
        "status": 0,
        "registered_at": 1,
    } | changes
    return struct(*fields.values())


def version(version_id: int, status: int) -> str:
    return struct(version_id, b"v", 0, b"", b"", b"", b"", status, 1, KMS)


class Registries:
    """An RPC server with the two contracts."""

    def __init__(self, members: list[tuple[str, str]], versions: dict[int, str]) -> None:
        self.results: dict[tuple[str, str], str] = {
            (KMS, _abi.call("kmsAppId()")): word(9),
            (KMS, _abi.call("novaAppRegistry()")): word(APPS),
            (APPS, _abi.call("getActiveInstances(uint256)", 9)): word(32)
            + word(len(members))
            + "".join(word(wallet) for wallet, _ in members),
        }
        for wallet, data in members:
            self.results[APPS, _abi.call("getInstanceByWallet(address)", wallet)] = data
        for version_id, data in versions.items():
            self.results[APPS, _abi.call("getVersion(uint256,uint256)", 9, version_id)] = data
        self.head: Any = {"number": "0x64", "timestamp": hex(int(time.time()))}
        self.blocks: set[str] = set()
        self.sizes: list[int] = []
        self.answer: bytes | None = None
        self.pause_s = 0.0
        self.server = Server(self._handle)

    def _handle(self, connection: socket.socket, line: bytes, headers: dict[str, str], body: bytes) -> None:
        self.sizes.append(len(json.loads(body)))
        time.sleep(self.pause_s)
        answers = [{"jsonrpc": "2.0", "id": call["id"]} | self._call(call) for call in json.loads(body)]
        connection.sendall(self.answer or reply(json.dumps(list(reversed(answers))).encode()))

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getBlockByNumber":
            return {"result": self.head}
        if call["method"] == "eth_chainId":
            return {"result": "0x7a69"}
        query, block = call["params"]
        self.blocks.add(block)
        data = self.results.get((query["to"], query["data"]))
        return {"error": {"code": 3, "message": "execution reverted"}} if data is None else {"result": "0x" + data}


class Chains(unittest.TestCase):
    wallets: ClassVar = ["0x" + format(i, "040x") for i in range(1, 20)]

    def registries(self, members: list[tuple[str, str]] | None = None, versions: dict[int, str] | None = None) -> Registries:
        first = self.wallets[0]
        made = Registries([(first, instance(first))] if members is None else members, versions or {3: version(3, 0)})
        self.addCleanup(made.server.close)
        return made

    def chain(self, registries: Registries, **more: Any) -> kms.Chain:
        chain = kms.Chain(registries.server.url + "/v3/key-of-mine", KMS, **more)
        self.addCleanup(chain.close)
        return chain

    def test_lists_members_with_what_pins_them(self) -> None:
        first, second = self.wallets[:2]
        registries = self.registries(
            [(first, instance(first)), (second, instance(second, version_id=4))], {3: version(3, 0), 4: version(4, 1)}
        )
        nodes = self.chain(registries, app_registry=APPS, chain_id=31337).nodes()
        self.assertEqual([first, second], [node.wallet for node in nodes])
        self.assertEqual(
            [("https://node.example", KEY[-97:].hex(), True)] * 2, [(node.url, node.pubkey, node.public_only) for node in nodes]
        )
        # All at one block, six behind the head.
        self.assertEqual({hex(0x64 - 6)}, registries.blocks)

    def test_reads_many_members_in_several_requests(self) -> None:
        wallets = ["0x" + format(i, "040x") for i in range(1, 121)]
        registries = self.registries([(wallet, instance(wallet)) for wallet in wallets])
        self.assertEqual(wallets, [node.wallet for node in self.chain(registries).nodes()])
        # The block, two of KMSRegistry, the list, three of members, their version.
        self.assertEqual([2, 1, 1, 1, 50, 50, 20, 1], registries.sizes)

    def test_leaves_out_what_is_no_member(self) -> None:
        w = self.wallets
        odd: list[dict[str, Any]] = [
            {"id": 0},
            {"app_id": 8},
            {"wallet": w[18]},
            {"zk_verified": 0},
            {"status": 1},
            {"status": 2},
            {"version_id": 4},
            {"version_id": 5},
            {"version_id": 6},
            {"url": b""},
            {"url": b"http://node.example"},
            {"url": b"\xff"},
            {"url": b"https://a@b"},
            {"url": b"https://" + b"a" * 2048},
            {"pubkey": b""},
            {"pubkey": KEY[:-1]},
            {"pubkey": bytes(97)},
        ]
        members = [(w[i], instance(w[i], **change)) for i, change in enumerate(odd)]
        members.append((w[17], instance(w[17])))
        # 4: revoked; 5: another one is given; 6: reverts.
        registries = self.registries(members, {3: version(3, 0), 4: version(4, 2), 5: version(3, 0)})
        self.assertEqual([w[17]], [node.wallet for node in self.chain(registries).nodes()])
        private = self.chain(registries, allow_private=True).nodes()
        self.assertEqual(["http://node.example", "https://node.example"], [node.url for node in private])
        self.assertFalse(any(node.public_only for node in private))

    def test_has_none_where_the_application_has_none(self) -> None:
        self.assertEqual([], self.chain(self.registries([])).nodes())
        registries = self.registries([])
        del registries.results[APPS, _abi.call("getActiveInstances(uint256)", 9)]
        self.assertEqual([], self.chain(registries).nodes())

    def test_refuses_another_chain_and_other_contracts(self) -> None:
        registries = self.registries()
        for more in ({"chain_id": 1}, {"app_registry": KMS}):
            with self.assertRaises(kms.ProtocolViolation):
                self.chain(registries, **more).nodes()
        registries.results[KMS, _abi.call("kmsAppId()")] = ""
        with self.assertRaisesRegex(kms.ProtocolViolation, "no contract"):
            self.chain(registries).nodes()
        del registries.results[KMS, _abi.call("kmsAppId()")]
        with self.assertRaisesRegex(kms.ProtocolViolation, "reverts"):
            self.chain(registries).nodes()
        with self.assertRaises(kms.InvalidRequest):
            kms.Chain("http://a", "0x12")

    def test_limits(self) -> None:
        for good in ({"confirmations": 0}, {"confirmations": 10_000}, {"timeout_s": 86_400}, {"max_head_age_s": 86_400}):
            kms.Chain("http://a", KMS, **good)  # type: ignore[arg-type]
        bad: list[dict[str, Any]] = [
            {"confirmations": -1},
            {"confirmations": 10_001},
            {"timeout_s": 0},
            {"timeout_s": 86_401},
            {"max_head_age_s": 0},
            {"max_head_age_s": 86_401},
        ]
        for option in bad:
            with self.assertRaisesRegex(kms.InvalidRequest, f"{next(iter(option))} is .* are allowed"):
                kms.Chain("http://a", KMS, **option)

    def test_believes_no_head_that_is_old_or_ahead(self) -> None:
        registries = self.registries()
        now = int(time.time())
        for stamp, good in ((now - 200, True), (now - 400, False), (now + 30, True), (now + 120, False)):
            registries.head = {"number": "0x3", "timestamp": hex(stamp)}
            if good:
                self.assertEqual(1, len(self.chain(registries).nodes()))
            else:
                with self.assertRaises(kms.Unavailable):
                    self.chain(registries).nodes()
        self.assertEqual({"0x0"}, registries.blocks)
        heads: list[Any] = [
            None,
            [],
            {},
            {"number": 1, "timestamp": "0x1"},
            {"number": "0x1", "timestamp": "1"},
            {"number": "0xzz", "timestamp": hex(now)},
            {"number": "0x8" + "0" * 15, "timestamp": hex(now)},
        ]
        for head in heads:
            registries.head = head
            with self.assertRaises(kms.ProtocolViolation, msg=str(head)):
                self.chain(registries).nodes()

    def test_what_is_no_answer(self) -> None:
        registries = self.registries()
        for body, status, kind in (
            (b"[]", "200 OK", kms.ProtocolViolation),
            (b"{}", "200 OK", kms.ProtocolViolation),
            (b"<html>", "200 OK", kms.ProtocolViolation),
            (b"[]", "502 Bad", kms.Unavailable),
            (b'[{"id":0},{"id":1}]', "200 OK", kms.Unavailable),
            (b'[{"id":0},{"id":0}]', "200 OK", kms.ProtocolViolation),
            (b'[{"id":0,"result":"0x1"},{"id":true,"result":"0x1"}]', "200 OK", kms.ProtocolViolation),
            (b'[{"id":0,"error":{"code":-32005,"message":"slow\\u001b"}},{"id":1,"result":"0x1"}]', "200 OK", kms.Unavailable),
        ):
            registries.answer = reply(body, status)
            with self.assertRaises(kind, msg=str(body)) as caught:
                self.chain(registries).nodes()
            self.assertNotIn("\x1b", str(caught.exception))
            self.assertNotIn("key-of-mine", str(caught.exception))

    def test_a_server_that_is_slow_with_each_answer_does_not_hold_a_reading(self) -> None:
        wallets = ["0x" + format(i, "040x") for i in range(1, 501)]
        registries = self.registries([(wallet, instance(wallet)) for wallet in wallets])
        registries.pause_s = 0.4
        with self.assertRaises(kms.Timeout):
            self.chain(registries, timeout_s=1).nodes()
        # Of sixteen.
        self.assertLess(len(registries.sizes), 8)


class Decoding(unittest.TestCase):
    def test_refuses_what_is_cut_or_odd(self) -> None:
        good = bytes.fromhex(instance("0x" + "11" * 20))
        self.assertEqual("https://node.example", _abi.instance(good).url)
        for end in range(0, len(good) - 32, 16):
            with self.assertRaises(Malformed, msg=str(end)):
                _abi.instance(good[:end])
        changes = [
            (0, word(0)),
            (0, word(1 << 255)),
            (0, word(64)),
            (1, word(1 << 64)),
            (4, word(1 << 160)),
            (5, word(0)),
            (5, word(1 << 200)),
            (6, word(len(good))),
            (8, word(2)),
            (9, word(256)),
            (10, word(1 << 63)),
            (11, word(1 << 20)),
        ]
        for index, value in changes:
            with self.assertRaises(Malformed, msg=f"{index} {value}"):
                _abi.instance(good[: 32 * index] + bytes.fromhex(value) + good[32 * index + 32 :])
        for data in (b"", bytes(31), bytes(33), bytes(64), bytes.fromhex(word(1 << 64))):
            with self.assertRaises(Malformed):
                _abi.number(data)

    def test_a_list_has_1000_addresses_at_most(self) -> None:
        for count, good in ((1000, True), (1001, False)):
            data = bytes.fromhex(word(32) + word(count)) + bytes(32 * count)
            if good:
                self.assertEqual(count, len(_abi.addresses(data)))
            else:
                with self.assertRaises(Malformed):
                    _abi.addresses(data)
