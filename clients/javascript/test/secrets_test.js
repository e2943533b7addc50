// What is secret shows in no text, and is overwritten when it is wiped.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Identity, KmsClient, KmsError, SecretBytes } from "../src/index.js";
import { utf8 } from "../src/bytes.js";
import { FakeNode, callerSeed, fetchOf, honest } from "./support/fake_node.js";

const texts = (value) => [
  String(value), `${value}`, JSON.stringify(value), JSON.stringify({ value }), inspect(value), inspect({ value }, { depth: 9, showHidden: true }),
];

test("secret bytes show their length alone", () => {
  const secret = new SecretBytes(utf8("hunter2"));
  for (const text of texts(secret)) {
    assert.ok(text.includes("SecretBytes(7 bytes)"), text);
    assert.ok(!text.includes("hunter2") && !text.includes("104"), text);
  }
  assert.deepEqual([secret.text(), secret.hex(), secret.base64()], ["hunter2", "68756e74657232", "aHVudGVyMg=="]);
});

test("wiped bytes are zeros, for everybody who holds them", () => {
  const bytes = utf8("hunter2");
  const secret = new SecretBytes(bytes);
  secret.wipe();
  secret.wipe();
  assert.ok(bytes.every((byte) => byte === 0));
  assert.deepEqual([secret.length, secret.wiped, String(secret)], [0, true, "SecretBytes(wiped)"]);
  assert.throws(() => secret.bytes, { code: "ERR_STATE" });
  assert.throws(() => new SecretBytes("text"), TypeError);
});

test("an identity and a client show the wallet alone", async () => {
  const identity = await Identity.fromSeed(callerSeed);
  const client = new KmsClient({ identity, nodes: "http://localhost" });
  for (const text of [...texts(identity), ...texts(client)]) {
    assert.ok(text.includes(identity.wallet), text);
    assert.ok(!text.includes("11111111"), text);
  }
  identity.wipe();
  await assert.rejects(identity.sign("text"), KmsError);
});

test("private keys that are none are refused without naming them", async () => {
  const walletKey = "ff".repeat(32);
  for (const keys of [{ walletKey, teeKey: "11".repeat(48) }, { walletKey: "11".repeat(32), teeKey: "ff".repeat(48) }, { walletKey: "12", teeKey: "34" }]) {
    await assert.rejects(Identity.fromKeys(keys), (error) => {
      assert.ok(!/ff|34/.test(error.message) && error.cause === undefined, error.message);
      return error instanceof KmsError;
    });
  }
  await assert.rejects(Identity.fromSeed("11".repeat(31)), /seed must be 32 bytes/);
  const seed = new Uint8Array(32).fill(0x11);
  assert.equal((await Identity.fromSeed(seed)).wallet, (await Identity.fromSeed(`${callerSeed}\n`)).wallet);
  assert.equal(seed[0], 0x11); // a copy was wiped, not the caller's bytes
});

test("errors have neither keys nor values, whatever fails", async () => {
  const identity = await Identity.fromSeed(callerSeed);
  const node = await FakeNode.make("20", identity, honest);
  const client = new KmsClient({ identity, nodes: node.address, fetch: fetchOf(node), busyWaitMs: 0 });
  const failures = [
    () => Promise.reject(new TypeError("fetch failed", { cause: new Error("boom") })), () => new Response("x"), () => new Response("{}", { status: 404 }),
    () => new Response("{}", { status: 503 }),
  ];
  await client.derive("p");
  for (const fail of failures) {
    node.page = (path) => (path === "/session/message" ? fail() : undefined);
    for (const call of [() => client.put("private-name", "hunter2"), () => client.derive("private-name", { context: "hunter2" })]) {
      const error = await call().then(() => assert.fail("it did not fail"), (reason) => reason);
      const seen = [...texts(error), error.stack].join("\n");
      assert.ok(error instanceof KmsError && !seen.includes("hunter2") && !seen.includes("private-name"), seen);
    }
  }
});

test("what a call sends is wiped, and the caller's value is not", async () => {
  const identity = await Identity.fromSeed(callerSeed);
  const node = await FakeNode.make("20", identity, honest);
  const client = new KmsClient({ identity, nodes: node.address, fetch: fetchOf(node) });
  const value = utf8("hunter2");
  await client.put("k", value);
  assert.equal(Buffer.from(value).toString(), "hunter2");
  assert.equal(node.seen.at(-1).asked.value, "aHVudGVyMg==");
  const secret = new SecretBytes(value);
  await client.put("k", secret);
  secret.wipe();
  await assert.rejects(client.put("k", secret), { code: "ERR_STATE" });
});
