// A client whose nodes come from the chain: how often it is read, and what becomes of nodes that come and go.
import assert from "node:assert/strict";
import { after, mock, test } from "node:test";
import { encodeCall } from "../src/chain/abi.js";
import { hex } from "../src/bytes.js";
import { ChainError, Identity, KmsClient } from "../src/index.js";
import { FakeNode, callerSeed, fetchOf, honest } from "./support/fake_node.js";
import { APP, KMS, chain, instance, serve, word } from "./support/registries.js";

const RPC = "http://rpc.test/";
const identity = await Identity.fromSeed(callerSeed);
// The clock stands still but for what tests let pass: a busy machine takes long for calls.
const begun = performance.now();
let passedMs = 0;
mock.method(performance, "now", () => begun + passedMs);
after(() => mock.restoreAll());

/** A client, its nodes, and the registry that says which of them are members. */
async function make() {
  const nodes = [await FakeNode.make("31", identity, honest), await FakeNode.make("32", identity, honest)];
  const registry = { members: [...nodes], calls: [], hold: undefined };
  const results = () => {
    const wallets = registry.members.map((node) => node.identity.wallet);
    const all = { ...chain([]), [encodeCall("getActiveInstances(uint256)", APP)]: `0x${word(32)}${word(wallets.length)}${wallets.map(word).join("")}` };
    registry.members.forEach(({ url, identity: own }, i) => {
      all[encodeCall("getInstanceByWallet(address)", own.wallet)] = instance(i + 1, { url, wallet: own.wallet, pubkey: hex(own.teePubkey) });
    });
    return all;
  };
  const called = fetchOf(...nodes);
  const fetch = async (url, request) => {
    if (url !== RPC) return called(url, request);
    if (registry.hold) {
      const ended = new Promise((_, reject) => request.signal.addEventListener("abort", () => reject(new Error("ended"))));
      await Promise.race([registry.hold, ended]);
    }
    return registry.down ? new Response("", { status: 500 }) : serve({ [RPC]: results() }, registry.calls)(url, request);
  };
  const client = new KmsClient({ identity, fetch, chain: { rpcUrl: RPC, kmsRegistry: KMS, allowPrivate: true } });
  const readings = () => registry.calls.filter(({ method }) => method === "eth_getBlockByNumber").length;
  const settled = async () => { for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve)); };
  return { client, nodes, registry, readings, settled };
}

const messages = (nodes) => nodes.map((node) => node.count("/session/message"));

test("a node that the registry drops is called no longer than three minutes", async () => {
  const { client, nodes, registry, readings, settled } = await make();
  await client.derive("p");
  const [first, other] = nodes[0].count("/session") ? nodes : [nodes[1], nodes[0]];
  registry.members = [other];
  passedMs += 59_000;
  await client.derive("p");
  assert.deepEqual([readings(), messages([first, other])], [1, [2, 0]]);
  passedMs += 2000; // its minute is over: it is read beside this call, which does not wait for it
  await client.derive("p");
  await settled();
  await client.derive("p");
  assert.deepEqual([readings(), messages([first, other])], [2, [3, 1]]);
  client.close();
});

test("nodes that stay keep their sessions, and calls side by side share a reading", async () => {
  const { client, nodes, registry, readings, settled } = await make();
  await Promise.all(Array.from({ length: 20 }, () => client.derive("p")));
  assert.equal(readings(), 1);
  registry.members.reverse();
  for (let i = 0; i < 3; i++) {
    passedMs += 61_000;
    await Promise.all(Array.from({ length: 20 }, () => client.derive("p")));
    await settled();
  }
  assert.deepEqual([readings(), nodes[0].count("/session") + nodes[1].count("/session")], [4, 1]);
  client.close();
});

test("a chain that cannot be read is asked again, and after three minutes nothing is sent", async () => {
  const { client, nodes, registry, settled } = await make();
  await client.derive("p");
  registry.down = true;
  passedMs += 179_000;
  await client.derive("p");
  await settled();
  passedMs += 2000;
  await assert.rejects(client.derive("p"), ChainError);
  assert.equal(messages(nodes).reduce((a, b) => a + b), 2);
  registry.down = false;
  await client.derive("p");
  client.close();
});

test("closing ends a reading, and a signal ends the wait for it alone", async () => {
  const { client, registry, readings } = await make();
  let release;
  registry.hold = new Promise((resolve) => (release = resolve));
  const controller = new AbortController();
  const stopped = client.derive("p", { signal: controller.signal });
  const other = client.derive("p");
  controller.abort("enough");
  await assert.rejects(stopped, (error) => error.name === "AbortError" && error.cause === "enough");
  release();
  await other;
  assert.equal(readings(), 1);
  passedMs += 181_000;
  registry.hold = new Promise(() => {});
  const late = client.derive("p");
  await new Promise((resolve) => setImmediate(resolve));
  client.close();
  await assert.rejects(late, { code: "ERR_STATE" });
  await assert.rejects(client.derive("p"), { code: "ERR_STATE" });
});
