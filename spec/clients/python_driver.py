"""The driver of the Python client for the table of cases (README.md)."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

import nova_kms as kms

TYPES: list[tuple[type[kms.KmsError], str]] = [
    (kms.InvalidRequest, "invalid"),
    (kms.NotFound, "not_found"),
    (kms.Refused, "refused"),
    (kms.Unavailable, "unavailable"),
    (kms.NoSession, "no_session"),
    (kms.OutcomeUnknown, "outcome_unknown"),
    (kms.ProtocolViolation, "protocol"),
]


def failed(error: kms.KmsError) -> dict[str, Any]:
    answer: dict[str, Any] = {"error": next(name for kind, name in TYPES if isinstance(error, kind)), "message": str(error)}
    for name in ("status", "code", "retry_after_s"):
        value = getattr(error, name, None)
        if value is not None:
            answer[name] = value
    return answer


def operation(line: dict[str, Any]) -> kms.Operation:
    members = {name: value for name, value in line.items() if name not in ("do", "value")}
    if line["do"] == "put":
        return kms.Put(value=base64.b64decode(line["value"]), **members)
    kinds: dict[str, Callable[..., kms.Operation]] = {
        "derive": kms.Derive,
        "get": kms.Get,
        "delete": kms.Delete,
        "list": kms.List,
    }
    return kinds[line["do"]](**members)


def ok(result: kms.Result) -> dict[str, Any]:
    if isinstance(result, kms.Derived):
        with result.key as key:
            return {"path": result.path, "length": len(key), "key": base64.b64encode(key).decode()}
    if isinstance(result, kms.Record):
        with result.value as value:
            text = base64.b64encode(value).decode()
        return {"key": result.key, "value": text, "updated_at_ms": result.updated_at_ms}
    if isinstance(result, kms.Written):
        return {"key": result.key, "updated_at_ms": result.updated_at_ms}
    if isinstance(result, kms.Deleted):
        return {"key": result.key, "deleted": True}
    return {"keys": result.keys} | ({"next": result.next} if result.next is not None else {})


class Driver:
    def __init__(self) -> None:
        self.client: kms.Client | None = None

    def open(self, line: dict[str, Any]) -> dict[str, Any]:
        if self.client is not None:
            self.client.close()
        nodes: list[kms.Node] | kms.Chain
        if "chain" in line:
            chain = line["chain"]
            nodes = kms.Chain(
                chain["rpc_url"], chain["kms_registry"], app_registry=chain["registry"], confirmations=0, allow_private=True
            )
        else:
            nodes = [kms.Node(node["url"], node.get("wallet"), node.get("pubkey")) for node in line["nodes"]]
        known = kms.KnownNodes(line["known_nodes"]) if "known_nodes" in line else None
        self.client = kms.Client(
            nodes,
            kms.Identity.from_seed(bytes.fromhex(line["seed"])),
            timeout_s=line["timeout_ms"] / 1000,
            known_nodes=known,
            allow_v1=line.get("allow_v1", False),
            retry_writes=line.get("retry_writes", False),
            require_pop=line.get("require_pop", False),
        )
        return {"ok": {}}

    def run(self, line: dict[str, Any]) -> dict[str, Any]:
        if line["do"] == "open":
            return self.open(line)
        assert self.client is not None
        if line["do"] == "list_all":
            return {"ok": {"keys": list(self.client.list_keys(line.get("prefix", "")))}}
        operations = line["operations"] if line["do"] == "batch" else [line]
        outcomes = self.client.batch([operation(item) for item in operations])
        answers = [failed(o) if isinstance(o, kms.KmsError) else {"ok": ok(o)} for o in outcomes]
        return {"ok": answers} if line["do"] == "batch" else answers[0]


def main() -> None:
    driver = Driver()
    for text in sys.stdin:
        try:
            answer = driver.run(json.loads(text))
        except kms.KmsError as error:
            answer = failed(error)
        print(json.dumps(answer), flush=True)
    if driver.client is not None:
        driver.client.close()


main()
