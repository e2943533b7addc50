// What the table of cases (spec/clients) does not ask of every client: signals, waits, backoff, listings, options.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AbortedError, ArgumentError, Identity, KmsClient, NotFoundError, OutcomeUnknownError, RefusedError, UnavailableError, UnverifiedError,
} from "../src/index.js";
import { FakeNode, callerSeed, fetchOf, honest, json } from "./support/fake_node.js";

const identity = await Identity.fromSeed(callerSeed);

async function nodesAndClient(options = {}, ...answers) {
  const nodes = [];
  for (const [i, answer] of (answers.length ? answers : [honest]).entries()) nodes.push(await FakeNode.make(`2${i}`, identity, answer));
  const client = new KmsClient({ identity, nodes: nodes.map((node) => node.address), fetch: fetchOf(...nodes), ...options });
  return { client, nodes, node: nodes[0] };
}

const busy = (seconds) => json({ code: "rate_limited", message: "later" }, { status: 429, headers: { "Retry-After": String(seconds) } });

test("operations go through one session, and give what was asked for", async () => {
  const { client, node } = await nodesAndClient();
  const key = await client.derive("p", { context: "c", length: 16 });
  assert.deepEqual([...key.bytes], Array(16).fill(7));
  assert.deepEqual(await client.put("k", "v"), { appId: 1n, updatedAtMs: 5, copies: 2 });
  await assert.rejects(client.get("k"), (error) => error instanceof NotFoundError && error.status === 404 && error.nodeCode === "not_found");
  assert.deepEqual(await client.delete("k"), { appId: 1n, copies: undefined });
  assert.deepEqual([node.count("/nonce"), node.count("/session"), node.count("/session/message")], [1, 1, 4]);
  assert.deepEqual(node.seen.at(-4).asked, { context: "c", length: 16, op: "derive", path: "p", strict: true });
  client.close();
});

test("calls side by side share one opening, which no signal of one of them ends", async () => {
  const { client, node } = await nodesAndClient();
  const controller = new AbortController();
  node.page = (path) => {
    if (path === "/session") controller.abort();
  };
  const calls = Array.from({ length: 20 }, (_, i) => client.derive(`p${i}`, { signal: i === 0 ? controller.signal : undefined }));
  await assert.rejects(calls[0], AbortedError);
  await Promise.all(calls.slice(1));
  assert.equal(node.count("/session"), 1);
});

test("a signal ends a call: before it, while it waits, and while a write is under way", async () => {
  const { client, node } = await nodesAndClient();
  await assert.rejects(client.derive("p", { signal: AbortSignal.abort("why") }), (error) => error.name === "AbortError" && error.cause === "why");
  assert.equal(node.seen.length, 0);
  await client.derive("p");
  let controller;
  node.page = (path, { signal }) => {
    if (path !== "/session/message") return undefined;
    const answer = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    controller.abort();
    return answer;
  };
  controller = new AbortController();
  await assert.rejects(client.derive("p", { signal: controller.signal }), AbortedError);
  controller = new AbortController();
  await assert.rejects(client.put("k", "v", { signal: controller.signal }), OutcomeUnknownError);
  node.page = undefined;
  await client.derive("p");
  // Only the write cost its session, which the next opening ends.
  assert.deepEqual([node.count("/session"), node.seen.findLast(({ path }) => path === "/session").ends.length], [2, 1]);
});

test("a busy node is waited for, as it says, but no longer than the call may wait", async () => {
  const { client, node } = await nodesAndClient({ busyWaitMs: 3000 });
  await client.derive("p");
  let times = 1;
  node.page = (path) => (path === "/session/message" && times-- > 0 ? busy(0) : undefined);
  await client.derive("p");
  assert.equal(node.count("/session"), 1);
  times = 1;
  const begun = performance.now();
  node.page = (path) => (path === "/session/message" && times-- > 0 ? busy(1) : undefined);
  await client.derive("p");
  assert.ok(performance.now() - begun >= 990);
  node.page = (path) => (path === "/session/message" ? busy(4) : undefined);
  await assert.rejects(client.derive("p"), (error) => error instanceof UnavailableError && error.code === "ERR_BUSY" && error.retryAfterSeconds === 4);
});

test("a write that a busy node may have made is not sent again", async () => {
  const { client, node } = await nodesAndClient({ busyWaitMs: 3000 });
  await client.derive("p");
  node.page = (path) => (path === "/session/message" ? busy(0) : undefined);
  await assert.rejects(client.put("k", "v"), OutcomeUnknownError);
  assert.equal(node.count("/session/message"), 2);
});

test("a write that is refused with 503 may have been made, and is sent again only where the caller says so", async () => {
  for (const [retryWrites, status, times] of [[false, 503, 1], [true, 503, 2], [false, 429, 2]]) {
    let first = true;
    const { client, node } = await nodesAndClient({ retryWrites, busyWaitMs: 3000 }, (operation) => {
      if (!first) return honest(operation);
      first = false;
      return { code: "service_unavailable", message: "not replicated", status };
    });
    const outcome = await client.put("k", "v").then(({ copies }) => copies, (error) => error.status);
    assert.deepEqual([outcome, node.count("/session/message")], [times === 1 ? 503 : 2, times]);
  }
});

test("what would come behind a later write of its key is not sent again", async () => {
  const asked = [];
  const { client } = await nodesAndClient({ busyWaitMs: 3000 }, (operation) => {
    asked.push([operation.op, operation.key]);
    // The first put and the get of a, both of b.
    return [1, 2, 4, 5].includes(asked.length) ? { code: "rate_limited", message: "later", status: 429 } : honest(operation);
  });
  const put = (key, value) => ({ op: "put", key, value });
  const outcomes = await client.batch([put("a", "1"), { op: "get", key: "a" }, put("a", "2"), put("b", "1"), { op: "delete", key: "b" }]);
  assert.deepEqual(outcomes.map(({ error }) => error?.status), [429, 429, undefined, undefined, undefined]);
  assert.deepEqual(asked.slice(5), [["put", "b"], ["delete", "b"]]);
});

test("a write that was not sent since a node was too busy for a session is sent later", async () => {
  const { client, node } = await nodesAndClient({ busyWaitMs: 3000 });
  let times = 1;
  node.page = (path) => (path === "/session" && times-- > 0 ? json({ code: "busy", message: "later" }, { status: 503 }) : undefined);
  assert.equal((await client.put("k", "v")).copies, 2);
  assert.deepEqual([node.count("/session"), node.count("/session/message")], [2, 1]);
});

test("a session ends with the machine's time too, which goes on while it sleeps", async () => {
  let now = Date.now();
  const { client, node } = await nodesAndClient({ now: () => now });
  await client.derive("p");
  now += 800_000;
  await client.derive("p");
  now += 820_000;
  await client.derive("p");
  assert.deepEqual([node.count("/session"), node.seen.findLast(({ path }) => path === "/session").ends.length], [2, 1]);
});

test("a client that was closed calls nobody", async () => {
  const { client, node } = await nodesAndClient();
  await client.derive("p");
  client.close();
  await assert.rejects(client.derive("p"), { code: "ERR_STATE" });
  assert.equal(node.count("/session/message"), 1);
});

test("a node that fails is asked last for a while", async () => {
  const { client, nodes } = await nodesAndClient({}, honest, honest);
  nodes[0].page = () => Promise.reject(new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } }));
  for (let i = 0; i < 5; i++) await client.derive("p");
  assert.equal(nodes[0].seen.length, 1);
  assert.equal(nodes[1].count("/session/message"), 5);
});

test("where every node fails, each is asked, and the last failure is told", async () => {
  const { client, nodes } = await nodesAndClient({}, honest, honest);
  for (const node of nodes) node.page = () => json({ code: "internal_error", message: "x" }, { status: 500 });
  await assert.rejects(client.derive("p"), { code: "ERR_SESSION" });
  assert.deepEqual(nodes.map((node) => node.seen.length), [1, 1]);
});

test("a listing is followed page by page, and one that does not end is refused", async () => {
  const keys = ["a", "b/1", "b/2", "b/3", "ä"];
  const pages = ({ prefix = "", after = "", limit }) => {
    const rest = keys.filter((key) => key.startsWith(prefix) && Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0);
    const page = rest.slice(0, limit);
    return { app_id: 1, count: page.length, keys: page, status: 200, ...(rest.length > limit && { next: page.at(-1) }) };
  };
  const { client, node } = await nodesAndClient({}, pages);
  const all = async (options) => {
    const found = [];
    for await (const key of client.list(options)) found.push(key);
    return found;
  };
  assert.deepEqual(await all({ pageSize: 2 }), keys);
  assert.equal(node.count("/session/message"), 3);
  assert.deepEqual(await all({ prefix: "b/", pageSize: 1 }), ["b/1", "b/2", "b/3"]);
  assert.deepEqual((await client.page({ after: "b/1", limit: 1 })).next, "b/2");
  node.answer = () => ({ app_id: 1, count: 1, keys: ["b"], next: "b", status: 200 });
  await assert.rejects(all({}), /pages do not end/);
});

test("results that do not fit the operation are not believed", async () => {
  const answers = [
    (right) => ({ ...right, path: "other" }), (right) => ({ ...right, length: 31 }), (right) => ({ ...right, key: "AAAA" }),
    (right) => ({ ...right, key: "A" }), (right) => ({ ...right, extra: 1 }), (right) => ({ ...right, app_id: -1 }),
    (right) => ({ ...right, status: 201 }), ({ path, ...right }) => right, () => [], () => 7, () => ({ status: 404, code: "not_found" }),
  ];
  for (const [i, change] of answers.entries()) {
    const { client } = await nodesAndClient({}, (operation) => change(honest(operation)));
    await assert.rejects(client.derive("p"), UnverifiedError, String(i));
  }
});

test("a refusal of the caller is the last answer of a session", async () => {
  const { client, node } = await nodesAndClient({}, () => ({ code: "unauthorized", message: "revoked\u001b[31m\n", status: 403 }));
  await assert.rejects(client.derive("p"), (error) => error instanceof RefusedError && error.message === "HTTP 403 unauthorized: revoked\\u{1b}[31m\\u{a}");
  node.answer = honest;
  await client.derive("p");
  assert.equal(node.count("/session"), 2);
});

test("a batch says of each operation what came of it, and what was not sent", async () => {
  const { client, node } = await nodesAndClient();
  const many = Array.from({ length: 300 }, (_, i) => ({ op: "derive", path: `p${i}`, length: 1 + (i % 9) }));
  const outcomes = await client.batch([...many, { op: "get", key: "k" }, { op: "burn" }, { op: "derive", path: "p", lenght: 3 }]);
  assert.ok(outcomes.slice(0, 300).every(({ ok, result }, i) => ok && result.key.length === 1 + (i % 9)));
  assert.ok(outcomes[300].error instanceof NotFoundError);
  assert.ok(outcomes[301].error instanceof ArgumentError && outcomes[302].error instanceof ArgumentError);
  assert.equal(node.count("/session/message"), 2);
  node.page = (path) => (path === "/session/message" ? Promise.reject(new TypeError("fetch failed")) : undefined);
  const lost = await client.batch([{ op: "put", key: "k", value: "v" }, ...many]);
  assert.ok(lost[0].error instanceof OutcomeUnknownError);
  assert.match(lost[300].error.message, /^not sent: /);
  assert.equal(lost[300].error.sent, false);
});

test("options that cannot work are refused, and name what there is", async () => {
  const nodes = "http://127.0.0.1:1";
  for (const options of [
    undefined, {}, { identity }, { identity, nodes, chain: {} }, { identity, nodes: [] }, { identity: {}, nodes }, { identity, nodes, timeoutMs: 0 },
    { identity, nodes, timeoutMs: "1" }, { identity, nodes, busyWaitMs: -1 }, { identity, nodes, allowV1: 1 }, { identity, nodes, retrywrites: true },
    { identity, nodes: "ftp://x" }, { identity, nodes: "nonsense" }, { identity, nodes: "http://user@x" }, { identity, nodes: "http://x/?a" },
    { identity, nodes: { url: nodes, wallet: "0x12" } }, { identity, nodes: { url: nodes, teePubkey: "00" } },
  ]) {
    assert.throws(() => new KmsClient(options), ArgumentError, JSON.stringify(options));
  }
  const client = new KmsClient({ identity, nodes, timeoutMs: 1, busyWaitMs: 0 });
  for (const call of [
    () => client.derive(""), () => client.derive("p", { length: 0 }), () => client.derive("p", { length: 1025 }), () => client.derive("\ud800"),
    () => client.put("k", 7), () => client.put("k", "v", { ttlMs: -1 }), () => client.put("k", "v", { ttl: 1 }), () => client.get("a".repeat(65537)),
    () => client.put("k", new Uint8Array((16 << 20) + 1)), () => client.page({ limit: 10001 }), () => client.batch("x"),
  ]) {
    await assert.rejects(call(), ArgumentError);
  }
});

test("what a node says of its session and of waiting counts up to a bound", async () => {
  let now = Date.now();
  let wait;
  const { client } = await nodesAndClient({ busyWaitMs: 0 }, () => ({ code: "rate_limited", message: "later", retry_after_s: wait, status: 429 }));
  for (const [said, counts] of [[999_999_999, 999_999_999], [1_000_000_000, 999_999_999], [2 ** 60, 999_999_999]]) {
    wait = said;
    await assert.rejects(client.derive("p"), (error) => error.status === 429 && error.retryAfterSeconds === counts);
  }
  for (const bad of [-1, 1.5, "1", null]) {
    wait = bad;
    await assert.rejects(client.derive("p"), UnverifiedError);
  }
  client.close();
  // The session is used up to 0.9 of a quarter of its life after its last use.
  for (const [expires, seconds, openings] of [[604_800, 136_000, 1], [604_801, 136_090, 2], [2 ** 60, 136_090, 2]]) {
    const { client: other, node: granting } = await nodesAndClient({ now: () => now });
    granting.grants = { expires_s: expires, max_operations: 2 ** 60 };
    await other.derive("p");
    now += seconds * 1000;
    const outcomes = await other.batch(Array.from({ length: 257 }, (_, i) => ({ op: "derive", path: `p${i}` })));
    assert.ok(outcomes.every(({ result }) => result));
    assert.equal(granting.count("/session"), openings);
    assert.deepEqual(granting.seen.filter(({ asked }) => asked?.length).map(({ asked }) => asked.length), [256]);
  }
  for (const bad of [{ expires_s: 0 }, { expires_s: "1" }, { max_operations: 0 }, { max_operations: -1 }, { max_operations: 0.5 }]) {
    const { client: other, node: granting } = await nodesAndClient();
    granting.grants = bad;
    await assert.rejects(other.derive("p"), UnverifiedError);
  }
});
