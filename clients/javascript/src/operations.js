/** Operations of an application: what is sent for them, and what their results may say (docs/protocol.md sections 6 to 8). */
import { base64Encode, isWellFormed, utf8 } from "./bytes.js";
import { ArgumentError, UnverifiedError, refused } from "./errors.js";
import { MAX_WAIT_SECONDS } from "./http.js";
import { JsonText, objectParts, textMember } from "./json.js";
import { SecretBytes } from "./secret.js";

const MAX_TEXT = 65536; // bytes of a path, context, key or prefix
const MAX_VALUE = 16 << 20;
const MAX_KEY = 1024; // bytes of a derived key
const DEFAULT_KEY = 32;
const MAX_PAGE = 10000;
const OK = 200;

/** The operations that change records: sent again only where the caller allows it. */
export const isWrite = (operation) => operation.op === "put" || operation.op === "delete";

// ---- what the caller asks for ---------------------------------------------------------------------------

function checkText(operation, name, required) {
  const text = operation[name];
  if (text === undefined && !required) return;
  if (typeof text !== "string") throw new ArgumentError(`${name} must be a text`, { code: "ERR_FIELD_MISSING" });
  if (required && text === "") throw new ArgumentError(`${name} must not be empty`, { code: "ERR_FIELD_MISSING" });
  if (!isWellFormed(text)) throw new ArgumentError(`${name} has half of a surrogate pair, which UTF-8 cannot express`, { code: "ERR_UTF8" });
  if (utf8(text).length > MAX_TEXT) throw new ArgumentError(`${name} has more than ${MAX_TEXT} bytes of UTF-8`, { code: "ERR_KEY_SIZE" });
}

function checkNumber(operation, name, least, most) {
  const number = operation[name];
  if (number === undefined) return;
  if (!Number.isSafeInteger(number) || number < least || number > most) {
    throw new ArgumentError(`${name} must be an integer from ${least} to ${most}`, { code: "ERR_FIELD_VALUE" });
  }
}

function checkValue(operation) {
  const { value } = operation;
  if (typeof value === "string" ? !isWellFormed(value) : !(value instanceof Uint8Array || value instanceof SecretBytes)) {
    throw new ArgumentError("value must be a Uint8Array, SecretBytes or a well-formed text", { code: "ERR_FIELD_TYPE" });
  }
}

const FIELDS = {
  derive: ["path", "context", "length"],
  put: ["key", "value", "ttlMs"],
  get: ["key"],
  delete: ["key"],
  list: ["prefix", "after", "limit"],
};

/** Refuses what no node takes. @throws {ArgumentError} */
export function checkOperation(operation) {
  const fields = typeof operation === "object" && operation !== null && Object.hasOwn(FIELDS, operation.op) && FIELDS[operation.op];
  if (!fields) throw new ArgumentError("op must be derive, put, get, list or delete");
  const unknown = Object.keys(operation).find((name) => name !== "op" && !fields.includes(name));
  if (unknown !== undefined) throw new ArgumentError(`${operation.op} has no option with this name; it has: ${fields.join(", ")}`);
  const name = { derive: "path", list: undefined }[operation.op] ?? (operation.op === "list" ? undefined : "key");
  if (name) checkText(operation, name, true);
  for (const text of ["context", "prefix", "after"]) checkText(operation, text, false);
  checkNumber(operation, "length", 1, MAX_KEY);
  checkNumber(operation, "limit", 1, MAX_PAGE);
  checkNumber(operation, "ttlMs", 0, Number.MAX_SAFE_INTEGER);
  if (operation.op === "put") checkValue(operation);
}

/** The base64 of a value, in quotes; the caller wipes it. */
function quoted(value) {
  const bytes = typeof value === "string" ? utf8(value) : value instanceof SecretBytes ? value.bytes : value;
  if (bytes.length > MAX_VALUE) throw new ArgumentError(`value has more than ${MAX_VALUE} bytes`, { code: "ERR_VALUE_SIZE" });
  const text = base64Encode(bytes);
  const json = new Uint8Array(text.length + 2).fill(0x22);
  json.set(text, 1);
  text.fill(0);
  return json;
}

/**
 * Writes an operation as JSON.
 * @param {object} operation that checkOperation has accepted
 * @param {{ pop?: string, asksSessions?: boolean }} [extra] pop: the signature of a request of version 1; asksSessions: the question
 *   whether the node has sessions, which nodes of every version take
 * @returns {Uint8Array} may hold a secret: the caller wipes it
 */
export function writeOperation(operation, { pop, asksSessions = false } = {}) {
  const { op } = operation;
  const members = [
    ["after", operation.after || undefined],
    ["context", operation.context || undefined],
    ["features", asksSessions ? ["session"] : undefined],
    ["key", operation.key],
    ["length", operation.length],
    ["limit", operation.limit],
    ["op", asksSessions ? undefined : op],
    ["path", operation.path],
    ["pop", pop],
    ["prefix", operation.prefix || undefined],
    ["strict", asksSessions ? undefined : true],
    ["ttl_ms", operation.ttlMs || undefined],
    ["value", op === "put" ? quoted(operation.value) : undefined],
  ].filter(([, value]) => value !== undefined);
  const parts = objectParts(members);
  const json = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    json.set(part, at);
    at += part.length;
    part.fill(0);
  }
  return json;
}

// ---- what a node answers --------------------------------------------------------------------------------

const wrong = (what) => new UnverifiedError(`the node's result does not fit the operation: ${what}`);

function number(result, name) {
  const value = result.get(name);
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0) throw wrong(`${name} is not a number`);
  return value;
}

// Seconds that a node asks to wait. Integers that no number holds come as BigInt.
function waitOf(value) {
  if (!(typeof value === "bigint" || Number.isInteger(value)) || value < 0) throw wrong("retry_after_s is not a number");
  return Math.min(Number(value), MAX_WAIT_SECONDS);
}

function appId(result) {
  const value = result.get("app_id");
  if (typeof value !== "bigint" && !Number.isInteger(value)) throw wrong("app_id is not a number");
  if (value < 0) throw wrong("app_id is not a number");
  return BigInt(value);
}

function secret(result, name) {
  const value = result.get(name);
  const bytes = value instanceof JsonText ? value.base64() : null;
  if (!bytes) throw wrong(`${name} is not base64`);
  return bytes;
}

/** A member that repeats the path or key asked for: a result of another operation names another one. */
function repeats(result, name, text) {
  if (textMember(result, name) !== text) throw wrong(`${name} is not the one asked for`);
}

function copies(result) {
  if (!result.has("copies")) return undefined;
  const value = number(result, "copies");
  if (value < 1) throw wrong("copies is not a number");
  return value;
}

const READERS = {
  derive(result, operation) {
    repeats(result, "path", operation.path);
    const length = operation.length ?? DEFAULT_KEY;
    if (number(result, "length") !== length) throw wrong("length is not the one asked for");
    const key = secret(result, "key");
    if (key.length !== length) throw wrong("the key has another length");
    return { members: 4, value: { key: new SecretBytes(key) } };
  },
  get(result, operation) {
    repeats(result, "key", operation.key);
    const updatedAtMs = number(result, "updated_at_ms");
    return { members: 4, value: { value: new SecretBytes(secret(result, "value")), updatedAtMs } };
  },
  put(result, operation) {
    repeats(result, "key", operation.key);
    const held = copies(result);
    return { members: held ? 4 : 3, value: { updatedAtMs: number(result, "updated_at_ms"), copies: held } };
  },
  delete(result, operation) {
    repeats(result, "key", operation.key);
    if (result.get("deleted") !== true) throw wrong("deleted is not true");
    const held = copies(result);
    return { members: held ? 4 : 3, value: { copies: held } };
  },
  list(result) {
    const list = result.get("keys");
    if (!Array.isArray(list) || number(result, "count") !== list.length) throw wrong("keys is not a list of count names");
    const keys = list.map((text) => textMember(new Map([["key", text]]), "key"));
    if (keys.includes(undefined)) throw wrong("keys has what is no text");
    const next = textMember(result, "next");
    if (result.has("next") && next === undefined) throw wrong("next is no text");
    return { members: next === undefined ? 3 : 4, value: { keys, next } };
  },
};

/**
 * Reads the result of an operation: exactly the members of its kind, about the path or key asked for.
 * @param {unknown} result as json.parse gives it
 * @param {object} operation
 * @param {number} also how many members there are beside (pop, features, status)
 * @returns {object} appId, and: derive: key; get: value, updatedAtMs; put: updatedAtMs, copies; delete: copies; list: keys, next
 * @throws {UnverifiedError}
 */
export function readResult(result, operation, also) {
  if (!(result instanceof Map)) throw wrong("it is no object");
  const id = appId(result);
  const { members, value } = READERS[operation.op](result, operation);
  if (result.size === members + also) return { appId: id, ...value };
  wipeResult(value);
  throw wrong("it has a member that is not of this operation");
}

/** Wipes what is secret in a result. */
export function wipeResult(result) {
  result.key?.wipe?.();
  result.value?.wipe?.();
}

/**
 * Reads what a session's answer says of one operation.
 * @returns {{ result: object } | { error: Error }}
 */
export function readOutcome(object, operation) {
  try {
    if (!(object instanceof Map)) throw wrong("it is no object");
    const status = number(object, "status");
    if (status === OK) return { result: readResult(object, operation, 1) };
    return { error: readRefusal(object, status) };
  } catch (error) {
    if (error instanceof UnverifiedError) return { error };
    throw error;
  }
}

/** A refusal inside a session. @throws {UnverifiedError} */
export function readRefusal(object, status) {
  const [nodeCode, message] = [textMember(object, "code"), textMember(object, "message")];
  if (status < 300 || status > 599 || nodeCode === undefined || message === undefined) throw wrong("it is neither a result nor a refusal");
  return refused(status, { nodeCode, message, wait: object.has("retry_after_s") ? waitOf(object.get("retry_after_s")) : undefined });
}
