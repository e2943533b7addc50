"""The nodes of a cluster, from the chain: KMSRegistry is the trust root (docs/protocol.md section 14)."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from . import _abi
from ._codec import Json, Malformed, hex_decode, json_decode, json_encode
from ._envelope import parse_pubkey
from ._http import Server, parse_url
from ._node import Node
from ._wallet import parse_address
from .errors import InvalidRequest, KmsError, ProtocolViolation, Unavailable, printable

_MAX_ANSWER = 16 << 20  # bytes
_CALLS = 50  # of a request: servers take no more than some 100
_ACTIVE, _ENROLLED, _DEPRECATED = 0, 0, 1
_MAX_CONFIRMATIONS = 10_000
_DAY_S = 86_400
_AHEAD_S = 60  # of this machine's clock
_REVERTED = 3  # the JSON-RPC error of a call that reverts

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class _Place:
    """Where a reading of the chain looks, and until when (time.monotonic())."""

    block: str
    until: float


class Chain:
    """Reads who the nodes of a cluster are: members that are ACTIVE, zkVerified, of a version that is not revoked, with a valid
    teePubkey and URL. Give it to a Client as its nodes: that reads it anew every minute, and trusts it for three.

    The RPC server is trusted: run one beside the application (Helios), or one behind https that is yours. Threads: any.
    """

    def __init__(
        self,
        rpc_url: str,
        kms_registry: str,
        *,
        app_registry: str | None = None,
        chain_id: int | None = None,
        confirmations: int = 6,
        max_head_age_s: int = 300,
        timeout_s: float = 30.0,
        allow_private: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """rpc_url: errors show no path of it, which may have a key. kms_registry: address of KMSRegistry, which names
        NovaAppRegistry; app_registry: what it must name. chain_id: what the server's must be. confirmations: blocks behind
        the head at which the chain is read, at most 10 000. max_head_age_s: a head that is older counts as no answer.
        timeout_s: of reading all nodes, as a whole; both at most a day. allow_private: nodes may have http URLs and private
        addresses (a devnet).
        """
        if not 0 <= confirmations <= _MAX_CONFIRMATIONS:
            raise InvalidRequest(f"confirmations is {confirmations}: 0 to {_MAX_CONFIRMATIONS} are allowed")
        for name, value in (("max_head_age_s", max_head_age_s), ("timeout_s", timeout_s)):
            if not 0 < value <= _DAY_S:
                raise InvalidRequest(f"{name} is {value}: more than 0 and at most {_DAY_S} are allowed")
        self._server, self._timeout_s = Server(rpc_url, tls, secret_path=True), timeout_s
        try:
            self._kms = parse_address(kms_registry)
            self._apps = None if app_registry is None else parse_address(app_registry)
        except ValueError:
            self._kms = ""
        if not self._kms:
            raise InvalidRequest("an address of a contract is 0x and 40 hexadecimal digits")
        self._chain_id, self._confirmations, self._max_head_age_s = chain_id, confirmations, max_head_age_s
        self._allow_private = allow_private

    def close(self) -> None:
        self._server.close()

    # ---- JSON-RPC ----

    def _rpc(self, until: float, calls: Sequence[tuple[str, list[object]]]) -> list[dict[str, Json]]:
        """Makes calls, many in a request, until a time of time.monotonic(). Returns their answers, in the same order."""
        parts = [calls[first : first + _CALLS] for first in range(0, len(calls), _CALLS)]
        return [answer for part in parts for answer in self._request(until, part)]

    def _request(self, until: float, calls: Sequence[tuple[str, list[object]]]) -> list[dict[str, Json]]:
        body = json_encode(
            [{"jsonrpc": "2.0", "id": i, "method": name, "params": params} for i, (name, params) in enumerate(calls)]
        )
        response = self._server.request(
            "POST",
            "",
            timeout_s=until - time.monotonic(),
            max_bytes=_MAX_ANSWER,
            headers={"Content-Type": "application/json"},
            body=body,
        )
        if response.status != 200:
            raise Unavailable(f"{self._server.url}: HTTP {response.status}", retry_after_s=response.retry_after_s())
        answers: dict[int, dict[str, Json]] = {}
        items = self._valid(lambda: json_decode(response.body))
        for item in items if isinstance(items, list) else []:
            number = item.get("id") if isinstance(item, dict) else None
            if isinstance(item, dict) and isinstance(number, int) and not isinstance(number, bool):
                answers[number] = item
        if set(answers) != set(range(len(calls))):
            raise ProtocolViolation(f"{self._server.url}: not an answer to each call")
        return [answers[i] for i in range(len(calls))]

    def _result(self, answer: dict[str, Json]) -> Json:
        error = answer.get("error")
        if error is None and "result" in answer:
            return answer["result"]
        message = error.get("message") if isinstance(error, dict) else None
        raise Unavailable(f"{self._server.url}: {printable(str(message or 'an answer without a result'))}")

    def _valid(self, read: Callable[[], _Value]) -> _Value:
        try:
            return read()
        except (Malformed, InvalidRequest) as error:
            why = str(error)
        raise ProtocolViolation(f"{self._server.url}: {why}")

    # ---- the block that is read at ----

    def _place(self) -> _Place:
        until = time.monotonic() + self._timeout_s
        answers = self._rpc(until, [("eth_getBlockByNumber", ["latest", False]), ("eth_chainId", [])])
        head, chain_id = self._result(answers[0]), _quantity(self._result(answers[1]))
        if self._chain_id is not None and chain_id != self._chain_id:
            raise ProtocolViolation(f"{self._server.url}: serves the chain {chain_id}, not {self._chain_id}")
        members = head if isinstance(head, dict) else {}
        number, stamp = _quantity(members.get("number")), _quantity(members.get("timestamp"))
        if number is None or stamp is None:
            raise ProtocolViolation(f"{self._server.url}: not a block")
        age = time.time() - stamp
        if age > self._max_head_age_s:
            raise Unavailable(
                f"{self._server.url}: the newest block is {age:.0f} s old: at most {self._max_head_age_s} s are allowed"
            )
        if age < -_AHEAD_S:
            raise Unavailable(f"{self._server.url}: the newest block is stamped {-age:.0f} s ahead of this machine's clock")
        return _Place(hex(max(0, number - self._confirmations)), until)

    # ---- contracts ----

    def _read(self, place: _Place, queries: Sequence[tuple[str, str]], decode: Callable[[bytes], _Value]) -> list[_Value | None]:
        """Calls (contract, data), decoded; None where a call reverts."""
        answers = self._rpc(place.until, [("eth_call", [{"to": to, "data": data}, place.block]) for to, data in queries])
        values: list[_Value | None] = []
        for (to, _), answer in zip(queries, answers, strict=True):
            if _is_revert(answer.get("error")):
                values.append(None)
                continue
            result = self._result(answer)
            if result == "0x":
                raise ProtocolViolation(f"{self._server.url}: there is no contract at {to}")
            values.append(self._valid(lambda r=result: decode(hex_decode(r) if isinstance(r, str) else b"")))  # type: ignore[misc]
        return values

    def _one(self, place: _Place, to: str, data: str, decode: Callable[[bytes], _Value]) -> _Value:
        value = self._read(place, [(to, data)], decode)[0]
        if value is None:
            raise ProtocolViolation(f"{self._server.url}: a call of {to} reverts")
        return value

    def nodes(self) -> list[Node]:
        """The nodes that there are now. Raises Unavailable where the chain cannot be read, and ProtocolViolation where what
        it says makes no sense."""
        place = self._place()
        app_id = self._one(place, self._kms, _abi.call("kmsAppId()"), _abi.number)
        apps = self._one(place, self._kms, _abi.call("novaAppRegistry()"), _abi.address)
        if self._apps is not None and apps != self._apps:
            raise ProtocolViolation("KMSRegistry names another NovaAppRegistry")
        wallets = self._read(place, [(apps, _abi.call("getActiveInstances(uint256)", app_id))], _abi.addresses)[0] or []
        queries = [(apps, _abi.call("getInstanceByWallet(address)", wallet)) for wallet in wallets]
        found = self._read(place, queries, _abi.instance) if queries else []
        members = [i for i, wallet in zip(found, wallets, strict=True) if i is not None and _is_member(i, wallet, app_id)]
        good = self._good_versions(place, apps, app_id, sorted({member.version_id for member in members}))
        nodes = [self._node(member) for member in members if member.version_id in good]
        return [node for node in nodes if node is not None]

    def _good_versions(self, place: _Place, apps: str, app_id: int, ids: list[int]) -> set[int]:
        queries = [(apps, _abi.call("getVersion(uint256,uint256)", app_id, version_id)) for version_id in ids]
        found = self._read(place, queries, _abi.version) if queries else []
        return {v.id for v, i in zip(found, ids, strict=True) if v and v.id == i and v.status in (_ENROLLED, _DEPRECATED)}

    def _node(self, member: _abi.Instance) -> Node | None:
        try:
            point = parse_pubkey(member.pubkey or b"")
            url, https, *_ = parse_url(member.url or "")
        except (Malformed, KmsError):
            return None
        if not https and not self._allow_private:
            return None
        return Node(url, member.wallet, point.hex(), public_only=not self._allow_private)


def _is_member(instance: _abi.Instance, wallet: str, app_id: int) -> bool:
    # A registry may still map the wallet to an instance that has another one now.
    return (
        instance.id != 0
        and instance.wallet == wallet
        and instance.app_id == app_id
        and instance.status == _ACTIVE
        and instance.zk_verified
    )


def _is_revert(error: Json) -> bool:
    if not isinstance(error, dict):
        return False
    message = error.get("message")
    return error.get("code") == _REVERTED or (isinstance(message, str) and "revert" in message.lower())


def _quantity(value: Json) -> int | None:
    """A JSON-RPC quantity below 2^63."""
    if not isinstance(value, str) or not value.startswith("0x") or not 3 <= len(value) <= 18:
        return None
    try:
        number = int(value[2:], 16)
    except ValueError:
        return None
    return number if number >> 63 == 0 else None
