// The driver of the JavaScript client for the table of cases (README.md).
import { createInterface } from "node:readline";
import * as kms from "../../clients/javascript/src/index.js";
import { KnownNodesFile } from "../../clients/javascript/src/node/index.js";

const TYPES = [
  [kms.ArgumentError, "invalid"], [kms.NotFoundError, "not_found"], [kms.RefusedError, "refused"], [kms.UnavailableError, "unavailable"],
  [kms.SessionError, "no_session"], [kms.OutcomeUnknownError, "outcome_unknown"], [kms.UnverifiedError, "protocol"],
  [kms.ChainError, "protocol"],
];

function failed(error) {
  const type = TYPES.find(([Type]) => error instanceof Type);
  if (!type) throw error;
  return { error: type[1], message: error.message, status: error.status, code: error.nodeCode, retry_after_s: error.retryAfterSeconds };
}

function operationOf(line) {
  const { do: op, value, ttl_ms: ttlMs, ...members } = line;
  const operation = { op, ...members };
  if (value !== undefined) operation.value = new Uint8Array(Buffer.from(value, "base64"));
  if (ttlMs !== undefined) operation.ttlMs = ttlMs;
  return operation;
}

function shown(operation, result) {
  switch (operation.op) {
    case "derive":
      return { path: operation.path, length: result.key.length, key: result.key.base64() };
    case "get":
      return { key: operation.key, value: result.value.base64(), updated_at_ms: result.updatedAtMs };
    case "list":
      return { keys: result.keys, next: result.next };
    case "put":
      return { key: operation.key, updated_at_ms: result.updatedAtMs };
    default:
      return { key: operation.key, deleted: true };
  }
}

let client;

async function open(line) {
  client?.close();
  const { chain } = line;
  client = new kms.KmsClient({
    identity: await kms.Identity.fromSeed(line.seed),
    nodes: line.nodes?.map(({ url, wallet, pubkey }) => ({ url, wallet, teePubkey: pubkey })),
    chain: chain && { rpcUrl: chain.rpc_url, registry: chain.registry, kmsRegistry: chain.kms_registry, confirmations: 0, allowPrivate: true },
    timeoutMs: line.timeout_ms,
    busyWaitMs: 0,
    allowV1: line.allow_v1,
    retryWrites: line.retry_writes,
    requirePop: line.require_pop,
    knownNodes: line.known_nodes === undefined ? undefined : await KnownNodesFile.open(line.known_nodes),
  });
  return {};
}

async function run(line) {
  if (line.do === "open") return { ok: await open(line) };
  if (line.do === "list_all") {
    const keys = [];
    for await (const key of client.list({ prefix: line.prefix })) keys.push(key);
    return { ok: { keys } };
  }
  const operations = (line.do === "batch" ? line.operations : [line]).map(operationOf);
  const outcomes = await client.batch(operations);
  const answers = outcomes.map(({ result, error }, i) => (error ? failed(error) : { ok: shown(operations[i], result) }));
  return line.do === "batch" ? { ok: answers } : answers[0];
}

for await (const text of createInterface({ input: process.stdin })) {
  const answer = await run(JSON.parse(text)).catch(failed);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
client?.close();
