"""Operations of an application, and their results (docs/protocol.md sections 7, 8 and 15.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ._codec import Json, Malformed, base64_decode, base64_encode
from .errors import InvalidRequest
from .secret import Secret

MAX_NAME = 65536  # bytes of a path, context, key or prefix that any node may hold
MAX_LENGTH = 1024  # bytes of a derived key
MAX_VALUE = 16 << 20  # bytes of a value that any node may be configured to take
MAX_PAGE = 10000  # keys
_MAX_TTL_MS = (1 << 63) - 1

Members: TypeAlias = dict[str, Json]


def _check_text(what: str, text: object, *, empty: bool) -> None:
    if not isinstance(text, str):
        raise InvalidRequest(f"{what} is a text, not {type(text).__name__}")
    if not text and not empty:
        raise InvalidRequest(f"{what} is empty: it has 1 to {MAX_NAME} bytes of UTF-8")
    size = -1
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        pass  # the error holds the text
    if size < 0:
        raise InvalidRequest(f"{what} is not Unicode: it has a lone surrogate")
    if size > MAX_NAME:
        raise InvalidRequest(f"{what} has {size} bytes of UTF-8: at most {MAX_NAME} are allowed")


def _check_number(what: str, number: object, least: int, most: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool):
        raise InvalidRequest(f"{what} is a whole number, not {type(number).__name__}")
    if not least <= number <= most:
        raise InvalidRequest(f"{what} is {number}: {least} to {most} are allowed")


# ---- operations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Derive:
    """Derives a key of 1 to 1024 bytes from a path, and a context where there is one."""

    path: str = field(repr=False)
    context: str = field(default="", repr=False)
    length: int = 32

    def check(self) -> None:
        _check_text("the path", self.path, empty=False)
        _check_text("the context", self.context, empty=True)
        _check_number("the length", self.length, 1, MAX_LENGTH)

    def members(self) -> dict[str, object]:
        inner: dict[str, object] = {"op": "derive", "path": self.path, "length": self.length}
        return inner | ({"context": self.context} if self.context else {})

    def read(self, reply: Members) -> Derived:
        _exactly(reply, "app_id", "key", "length", "path")
        _same(reply, "path", self.path)
        app_id, key = _number(reply, "app_id"), _secret(reply, "key")
        if _number(reply, "length") != self.length or len(key) != self.length:
            raise Malformed("a key of another length")
        return Derived(app_id, self.path, key)


@dataclass(frozen=True)
class Put:
    """Stores a value of up to 1 MiB. ttl_ms: its lifetime in milliseconds, at most ten years; 0: for ever."""

    key: str = field(repr=False)
    value: bytes | bytearray | memoryview = field(repr=False)
    ttl_ms: int = 0

    def check(self) -> None:
        _check_text("the key", self.key, empty=False)
        if not isinstance(self.value, (bytes, bytearray, memoryview)):
            raise InvalidRequest(f"the value is bytes, not {type(self.value).__name__}")
        size = memoryview(self.value).nbytes
        if size > MAX_VALUE:
            raise InvalidRequest(f"the value has {size} bytes: at most {MAX_VALUE} are allowed")
        _check_number("ttl_ms", self.ttl_ms, 0, _MAX_TTL_MS)

    def members(self) -> dict[str, object]:
        inner: dict[str, object] = {"op": "put", "key": self.key, "value": base64_encode(self.value)}
        return inner | ({"ttl_ms": self.ttl_ms} if self.ttl_ms else {})

    def read(self, reply: Members) -> Written:
        copies = _copies(reply, "app_id", "key", "updated_at_ms")
        _same(reply, "key", self.key)
        return Written(_number(reply, "app_id"), self.key, _number(reply, "updated_at_ms"), copies)


@dataclass(frozen=True)
class Get:
    """Reads a record."""

    key: str = field(repr=False)

    def check(self) -> None:
        _check_text("the key", self.key, empty=False)

    def members(self) -> dict[str, object]:
        return {"op": "get", "key": self.key}

    def read(self, reply: Members) -> Record:
        _exactly(reply, "app_id", "key", "updated_at_ms", "value")
        _same(reply, "key", self.key)
        stamp, app_id = _number(reply, "updated_at_ms"), _number(reply, "app_id")
        return Record(app_id, self.key, _secret(reply, "value"), stamp)


@dataclass(frozen=True)
class Delete:
    """Deletes a record."""

    key: str = field(repr=False)

    def check(self) -> None:
        _check_text("the key", self.key, empty=False)

    def members(self) -> dict[str, object]:
        return {"op": "delete", "key": self.key}

    def read(self, reply: Members) -> Deleted:
        copies = _copies(reply, "app_id", "deleted", "key")
        _same(reply, "key", self.key)
        if reply["deleted"] is not True:
            raise Malformed("deleted is not true")
        return Deleted(_number(reply, "app_id"), self.key, copies)


@dataclass(frozen=True)
class List:
    """One page of the names of records, in the order of their bytes.

    prefix: that they start with. after: that they are behind. limit: 1 to 10 000 of them. None of the three: all keys.
    """

    prefix: str = field(default="", repr=False)
    after: str = field(default="", repr=False)
    limit: int | None = None

    def check(self) -> None:
        _check_text("the prefix", self.prefix, empty=True)
        _check_text("after", self.after, empty=True)
        if self.limit is not None:
            _check_number("the limit", self.limit, 1, MAX_PAGE)

    def members(self) -> dict[str, object]:
        inner: dict[str, object] = {"op": "list"}
        for name, value in (("prefix", self.prefix), ("after", self.after), ("limit", self.limit)):
            if value:
                inner[name] = value
        return inner

    def read(self, reply: Members) -> Page:
        _exactly(reply, "app_id", "count", "keys", *({"next"} & reply.keys()))
        keys, after = reply["keys"], reply.get("next")
        if not isinstance(keys, list) or _number(reply, "count") != len(keys):
            raise Malformed("another number of keys")
        names = [key for key in keys if isinstance(key, str)]
        if len(names) != len(keys) or not isinstance(after, str | None):
            raise Malformed("a key is not a text")
        return Page(_number(reply, "app_id"), names, after)


Operation: TypeAlias = Derive | Put | Get | Delete | List

# ---- results -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Derived:
    app_id: int
    path: str = field(repr=False)
    key: Secret = field(repr=False)


@dataclass(frozen=True)
class Written:
    """updated_at_ms: when, by the node's clock. copies: how many nodes hold it; None where the node does not say."""

    app_id: int
    key: str = field(repr=False)
    updated_at_ms: int
    copies: int | None


@dataclass(frozen=True)
class Record:
    app_id: int
    key: str = field(repr=False)
    value: Secret = field(repr=False)
    updated_at_ms: int


@dataclass(frozen=True)
class Deleted:
    """copies: as of Written."""

    app_id: int
    key: str = field(repr=False)
    copies: int | None


@dataclass(frozen=True)
class Page:
    """next: the `after` of the next page, or None where this is the last one."""

    app_id: int
    keys: list[str] = field(repr=False)
    next: str | None = field(repr=False)


Result: TypeAlias = Derived | Written | Record | Deleted | Page


def is_write(operation: Operation) -> bool:
    """Whether it changes records."""
    return isinstance(operation, Put | Delete)


# ---- reading -----------------------------------------------------------------------------------------------------


def _exactly(reply: Members, *names: str) -> None:
    """Another member means that the reply is to another operation."""
    if reply.keys() != set(names):
        raise Malformed("not the members of a result of this operation")


def _copies(reply: Members, *names: str) -> int | None:
    _exactly(reply, *names, *({"copies"} & reply.keys()))
    copies = _number(reply, "copies") if "copies" in reply else None
    if copies == 0:
        raise Malformed("copies is 0")
    return copies


def _number(reply: Members, name: str) -> int:
    number = reply[name]
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise Malformed(f"{name} is no number")
    return number


def _same(reply: Members, name: str, wanted: str) -> None:
    if reply[name] != wanted:
        raise Malformed(f"{name} is another one")


def _secret(reply: Members, name: str) -> Secret:
    text = reply[name]
    if not isinstance(text, str):
        raise Malformed(f"{name} is not base64")
    return Secret(base64_decode(text))
