// The nodes that a chain lists, read from a made-up RPC server: which are taken, and what makes the reading fail.
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeCall } from "../src/chain/abi.js";
import { isPublicUrl } from "../src/chain/public_url.js";
import { mapSome } from "../src/chain/rpc.js";
import { ArgumentError, ChainError, nodesFromChain } from "../src/index.js";
import { hex } from "../src/bytes.js";
import { APP, KMS, PUBKEY, REGISTRY, blockOf, chain, instance, serve, walletOf, word } from "./support/registries.js";

const RPC = "http://rpc.test/";
const read = (results, options = {}) => nodesFromChain({ rpcUrl: RPC, kmsRegistry: KMS, fetch: serve({ [RPC]: results }), ...options });

test("members that are active, verified and on a usable version are taken, in the registry's order", async () => {
  const seen = [];
  const results = chain([{}, { zk: 0 }, { version: 2 }, { version: 3 }, { url: "ftp://x" }]);
  const nodes = await read(results, { fetch: serve({ [RPC]: results }, seen) });
  assert.deepEqual(nodes.map(({ url, wallet }) => [url, wallet]), [["https://node-1.test", walletOf(1)], ["https://node-3.test", walletOf(3)]]);
  assert.equal(hex(nodes[0].teePubkey), PUBKEY);
  assert.ok(seen.filter(({ method }) => method === "eth_call").every(({ params }) => params[1] === "0xa")); // all of one block
});

test("the chain is read some blocks behind its newest one, and not before its first", async () => {
  for (const [confirmations, block] of [[undefined, "0xa"], [0, "0x10"], [1, "0xf"], [16, "0x0"], [10_000, "0x0"]]) {
    const seen = [];
    await read({}, { fetch: serve({ [RPC]: chain([{}]) }, seen), confirmations });
    const calls = seen.filter(({ method }) => method === "eth_call");
    assert.ok(calls.length && calls.every(({ params }) => params[1] === block), `${confirmations}: ${calls[0].params[1]}`);
  }
});

for (const [why, change] of Object.entries({
  "is not verified": { zk: 0 }, "is stopped": { status: 1 }, "is another application's": { appId: 50 }, "has another wallet": { wallet: walletOf(7) },
  "is unknown": { id: 0 }, "is on a revoked version": { version: 3 }, "has a key that is none": { pubkey: "00" }, "has no URL": { url: "" },
  "has a key off the curve": { pubkey: PUBKEY.replace(/.$/, (c) => (c === "0" ? "1" : "0")) }, "has a URL of another kind": { url: "ftp://x" },
  "has a URL with a user": { url: "https://user@x" }, "is not on https": { url: "http://node-1.test" }, "is on this machine": { url: "https://a.localhost." },
  "is at a private address": { url: "https://169.254.169.254/latest" }, "has a URL that is too long": { url: `https://${"x".repeat(2050)}` },
})) {
  test(`an instance that ${why} is no node`, async () => {
    assert.deepEqual((await read(chain([{}, change]))).map(({ wallet }) => wallet), [walletOf(1)]);
    await assert.rejects(read(chain([change])), /lists no node/);
  });
}

test("nodes of a devnet are taken where the caller says so", async () => {
  for (const url of ["http://127.0.0.1:8000", "https://[::1]", "http://node-1.test"]) {
    await assert.rejects(read(chain([{ url }])), /lists no node/);
    assert.equal((await read(chain([{ url }]), { allowPrivate: true }))[0].url, url);
  }
});

test("which addresses are public", () => {
  for (const host of ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.169.0.0", "198.17.0.0",
    "198.20.0.0", "223.255.255.255", "[2606:4700::1]", "[2001:200::]", "[3ffe::1]", "localhost.test", "10.test", "node.test."]) {
    assert.ok(isPublicUrl(`https://${host}/`), host);
    assert.ok(!isPublicUrl(`http://${host}/`), host);
  }
  for (const host of ["0.1.2.3", "10.0.0.0", "10.255.255.255", "0x0a.1", "167772161", "100.64.0.0", "100.127.255.255", "127.0.0.1.", "169.254.169.254",
    "172.16.0.0", "172.31.255.255", "192.0.0.170", "192.0.2.1", "192.168.1.1", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "255.255.255.255", "[::]", "[::1]", "[::ffff:10.0.0.1]", "[::10.0.0.1]", "[64:ff9b::a00:1]", "[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]",
    "[2001::1]", "[2001:1ff::]", "[2001:db8::1]", "[2002:a00:1::]", "localhost", "LOCALHOST.", "x.localhost"]) {
    assert.ok(!isPublicUrl(`https://${host}/`), host);
  }
});

test("the registry and the application may be given, and a wallet that is listed twice counts once", async () => {
  const results = chain([{}], { listed: [walletOf(1), walletOf(1)] });
  assert.equal((await read(results, { kmsRegistry: undefined, registry: REGISTRY.toUpperCase().replace("0X", "0x"), kmsAppId: "49" })).length, 1);
});

test("what is given beside kmsRegistry must be what that names", async () => {
  const results = chain([{}]);
  assert.equal((await read(results, { registry: REGISTRY, kmsAppId: APP })).length, 1);
  await assert.rejects(read(results, { registry: walletOf(3) }), /names another registry/);
  await assert.rejects(read(results, { kmsAppId: 50 }), /names another kmsAppId/);
});

test("what a server answers wrongly is a failure, and shows no more of its URL than the host", async () => {
  const good = chain([{}]);
  const say = (members) => ({ id }) => Response.json({ jsonrpc: "2.0", id, ...members });
  const answers = {
    "HTTP 500": () => new Response("", { status: 500 }),
    "not JSON": () => new Response("<html>"),
    "no JSON-RPC 2.0 answer": say({ id: 0, result: "0x" }),
    "error -32000: no\\\\u": say({ error: { code: -32000, message: "no\u0007" } }),
    "without a result": say({}),
    "without a code: no message": say({ error: { code: { toString: 1, valueOf: 1 }, message: { toString: 1, valueOf: 1 } } }),
    "error without a code": say({ error: 7 }),
    "no number": say({ result: { ...blockOf(), number: 5 } }),
    "or timestamp": say({ result: { ...blockOf(), timestamp: 5 } }),
    ECONNREFUSED: () => Promise.reject(new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } })),
  };
  const url = "http://rpc.test/secret-path?key=secret-query";
  for (const [words, answer] of Object.entries(answers)) {
    await assert.rejects(nodesFromChain({ rpcUrl: url, kmsRegistry: KMS, fetch: serve({ [url]: answer }) }), (error) => {
      assert.ok(error instanceof ChainError && !error.message.includes("secret"), error.message);
      assert.match(error.message, new RegExp(words));
      return true;
    });
  }
  const { [encodeCall("kmsAppId()")]: _, ...without } = good;
  await assert.rejects(read(without), /there is no contract at 0xaa/);
  await assert.rejects(read({ ...good, [encodeCall("kmsAppId()")]: "0xzz" }), /gave no data/);
  await assert.rejects(read({ ...good, [encodeCall("kmsAppId()")]: `0x${word(2n ** 64n)}` }), /malformed/);
  const list = encodeCall("getActiveInstances(uint256)", APP);
  await assert.rejects(read({ ...good, [list]: `0x${word(32)}${word(2)}${word(walletOf(1))}` }), /malformed/);
  await assert.rejects(read(chain([{}], { listed: Array.from({ length: 1001 }, (_, i) => `0x${(i + 1).toString(16).padStart(40, "0")}`) })), /more than 1000/);
});

test("a server whose newest block is old, or of a time to come, shows nothing that counts", async () => {
  const readAt = (ageS, options) => read({}, { fetch: serve({ [RPC]: chain([{}]) }, [], blockOf(ageS)), ...options });
  for (const [ageS, options] of [[290], [-50], [900, { maxHeadAgeMs: 1_000_000 }]]) assert.equal((await readAt(ageS, options)).length, 1);
  await assert.rejects(readAt(310), /the newest block is 31[0-9] s old: at most 300 s are allowed/);
  await assert.rejects(readAt(30, { maxHeadAgeMs: 20_000 }), /at most 20 s are allowed/);
  await assert.rejects(readAt(-120), /stamped 1[12][0-9] s ahead of this machine's clock/);
});

test("of several servers two must show the same", async () => {
  const urls = ["http://a.test/", "http://b.test/", "http://c.test/"];
  const from = (...results) => nodesFromChain({
    rpcUrl: urls.slice(0, results.length), kmsRegistry: KMS, fetch: serve(Object.fromEntries(results.map((result, i) => [urls[i], result]))),
  });
  const [one, other] = [chain([{}]), chain([{ url: "https://thief.test" }])];
  const down = () => new Response("", { status: 500 });
  assert.equal((await from(other, one, one))[0].url, "https://node-1.test");
  assert.equal((await from(down, one, one))[0].url, "https://node-1.test");
  await assert.rejects(from(one, other), /the RPC servers disagree/);
  await assert.rejects(from(one, down), /a?b.test: HTTP 500; only one RPC server answered/);
  await assert.rejects(from(down, down), ChainError);
});

test("a server that is slow, or that answers with what cannot be a text, does not stop two others", { timeout: 60_000 }, async () => {
  const urls = ["http://a.test/", "http://b.test/", "http://c.test/"];
  const one = chain([{}]);
  let ended = 0;
  const odd = ({ id }) => new Response(`{"jsonrpc":"2.0","id":${id},"error":{"message":${"[".repeat(100_000)}${"]".repeat(100_000)}}}`);
  const served = serve({ [urls[0]]: odd, [urls[1]]: one, [urls[2]]: one });
  const options = { rpcUrl: urls, kmsRegistry: KMS, timeoutMs: 3_600_000 };
  assert.equal((await nodesFromChain({ ...options, fetch: served })).length, 1);
  const hangs = (url, call) => url !== urls[0] ? served(url, call) : new Promise((_, reject) => {
    call.signal.addEventListener("abort", () => reject(new Error(`ended ${++ended}`)));
  });
  assert.equal((await nodesFromChain({ ...options, fetch: hangs })).length, 1);
  assert.equal(ended, 1);
});

test("a reading has its time, whatever the server needs for each answer", async () => {
  const listed = Array.from({ length: 1000 }, (_, i) => `0x${(i + 1).toString(16).padStart(40, "0")}`);
  const seen = [];
  const results = new Proxy(chain([], { listed }), { get: (known, data) => known[data] ?? instance(1) });
  const served = serve({ [RPC]: results }, seen);
  const slow = (...call) => new Promise((resolve) => setTimeout(() => resolve(served(...call)), 200));
  await assert.rejects(read({}, { fetch: slow, timeoutMs: 1500 }), /within [0-9]+ ms/);
  assert.ok(seen.length < 200, `${seen.length} calls`); // of 1004
  const controller = new AbortController();
  const stops = (...call) => { controller.abort("enough"); return slow(...call); };
  await assert.rejects(read({}, { fetch: stops, signal: controller.signal }), (error) => error.name === "AbortError" && error.cause === "enough");
});

test("options that cannot work are refused", async () => {
  for (const options of [
    { rpcUrl: RPC }, { rpcUrl: [], kmsRegistry: KMS }, { rpcUrl: "x", kmsRegistry: KMS }, { kmsRegistry: KMS }, { rpcUrl: RPC, kmsRegistry: "0x12" },
    { rpcUrl: RPC, registry: REGISTRY, kmsAppId: 0 }, { rpcUrl: RPC, registry: REGISTRY, kmsAppId: 2n ** 64n }, { rpcUrl: RPC, registry: REGISTRY },
    { rpcUrl: RPC, kmsRegistry: KMS, blocks: 3 }, { rpcUrl: RPC, kmsRegistry: KMS, confirmations: -1 },
    { rpcUrl: RPC, kmsRegistry: KMS, confirmations: 10_001 }, { rpcUrl: RPC, kmsRegistry: KMS, confirmations: 1.5 },
    { rpcUrl: RPC, kmsRegistry: KMS, confirmations: "6" },
    { rpcUrl: RPC, kmsRegistry: KMS, timeoutMs: "1" }, { rpcUrl: RPC, kmsRegistry: KMS, maxHeadAgeMs: 0 },
  ]) {
    await assert.rejects(nodesFromChain({ fetch: serve({ [RPC]: chain([{}]) }), ...options }), ArgumentError);
  }
  assert.equal((await read(chain([{}]), { kmsRegistry: undefined, registry: REGISTRY, kmsAppId: APP })).length, 1);
});

test("some calls run at a time", async () => {
  let [now, most] = [0, 0];
  const results = await mapSome([...Array(50).keys()], async (n) => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => setImmediate(resolve));
    now--;
    return 2 * n;
  });
  assert.deepEqual(results, [...Array(50).keys()].map((n) => 2 * n));
  assert.equal(most, 8);
});
