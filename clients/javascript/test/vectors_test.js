// The known answers of spec/vectors: signatures, envelopes, exchanges of version 1, sessions, contract data.
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeAddress, decodeAddresses, decodeInstance, decodeNumber, decodeVersion, encodeCall } from "../src/chain/abi.js";
import { hex, utf8, utf8Decode } from "../src/bytes.js";
import { openEnvelope, sealEnvelope } from "../src/envelope.js";
import { UnverifiedError } from "../src/errors.js";
import { Identity } from "../src/identity.js";
import { Message } from "../src/message.js";
import { Node } from "../src/node.js";
import { agree, importPrivate, pointOf } from "../src/p384.js";
import { finishOpening, signOpening } from "../src/session.js";
import { recoverWallet, signText, walletOf } from "../src/wallet.js";
import { bytes, vectors } from "./support/vectors.js";

const ANY_KEY = "11".repeat(32); // where a vector has a P-384 key alone

function identityOf(vector, who) {
  return Identity.fromKeys({ walletKey: vector[`${who}_wallet_priv`] ?? ANY_KEY, teeKey: vector[`${who}_tee_priv`] });
}

/** The node of a vector, as its caller sees it; answers come from `pages` by path. */
async function nodeOf(vector, pages = {}) {
  const fetch = async (url, request) => {
    const { headers, body } = pages[new URL(url).pathname](request);
    return new Response(body, { headers });
  };
  const options = { fetch, timeoutMs: 60_000, now: () => Number(vector.timestamp) * 1000, requirePop: true };
  const node = new Node({ url: "http://localhost", wallet: vector.node_wallet, teePubkey: vector.node_tee_pubkey }, options);
  await node.connect(await identityOf(vector, "caller"));
  return node;
}

test("signs and recovers by EIP-191, and takes no high s", () => {
  for (const vector of vectors("eip191")) {
    assert.equal(walletOf(bytes(vector.priv)), vector.address);
    assert.equal(signText(bytes(vector.priv), vector.message), vector.signature_v27);
    assert.equal(recoverWallet(vector.message, vector.signature), vector.address);
    assert.equal(recoverWallet(vector.message, vector.signature_v27.slice(2).toUpperCase()), vector.address);
    assert.equal(recoverWallet(vector.message, vector.high_s), null);
    assert.equal(recoverWallet(vector.message, vector.signature.slice(0, -2)), null);
    assert.equal(recoverWallet(vector.message, `${vector.signature.slice(0, -2)}05`), null);
    assert.notEqual(recoverWallet(`${vector.message}.`, vector.signature), vector.address);
  }
});

test("reads no envelope with many members", async () => {
  const [vector] = vectors("envelope");
  const sender = await Identity.fromKeys({ walletKey: ANY_KEY, teeKey: vector.sender_priv });
  const receiver = await Identity.fromKeys({ walletKey: ANY_KEY, teeKey: vector.receiver_priv });
  const { point } = await importPrivate(bytes(vector.sender_priv));
  const sealed = await sealEnvelope(await sender.channel(pointOf(bytes(vector.receiver_tee_pubkey))), sender.teePubkey, utf8("{}"));
  const withMore = (count) => utf8(utf8Decode(sealed).replace("{", `{${Array.from({ length: count }, (_, i) => `"m${i}":1,`).join("")}`));
  const open = async (body) => openEnvelope(await receiver.channel(point), point, body);
  assert.equal(utf8Decode(await open(withMore(14))), "{}");
  await assert.rejects(open(withMore(15)), UnverifiedError);
});

test("agrees with P-384 keys, seals and opens envelopes", async () => {
  for (const vector of vectors("envelope")) {
    const sender = await Identity.fromKeys({ walletKey: ANY_KEY, teeKey: vector.sender_priv });
    const point = pointOf(bytes(vector.receiver_tee_pubkey));
    const { key, point: own } = await importPrivate(bytes(vector.sender_priv));
    assert.equal(hex(await agree(key, point)), vector.shared_secret);
    const channel = await sender.channel(point);
    const sealed = await sealEnvelope(channel, sender.teePubkey, utf8(vector.plaintext), bytes(vector.envelope.nonce));
    assert.deepEqual(JSON.parse(utf8Decode(sealed)), vector.envelope);
    const receiver = await Identity.fromKeys({ walletKey: ANY_KEY, teeKey: vector.receiver_priv });
    const opened = await openEnvelope(await receiver.channel(own), own, sealed);
    assert.equal(utf8Decode(opened), vector.plaintext);
    await assert.rejects(openEnvelope(channel, point, sealed), UnverifiedError); // its sender is not that key
    const changed = sealed.slice();
    changed[sealed.indexOf(0x3a) + 2] ^= 1; // in the ciphertext
    await assert.rejects(openEnvelope(await receiver.channel(own), own, changed), UnverifiedError);
  }
});

test("refuses what is no P-384 point", () => {
  const der = bytes(vectors("envelope")[0].receiver_tee_pubkey);
  assert.equal(hex(pointOf(der)), hex(pointOf(der.subarray(23))));
  const off = der.slice();
  off[119] ^= 1;
  const head = der.slice();
  head[1] ^= 1;
  const infinity = new Uint8Array(97);
  for (const wrong of [off, head, infinity, der.subarray(0, 119), new Uint8Array([...der, 0]), new Uint8Array(0), "00", undefined]) {
    assert.equal(pointOf(wrong), null);
  }
});

test("makes the requests of version 1 and reads their replies", async () => {
  for (const vector of vectors("exchange").filter(({ caller }) => caller === "app")) {
    const seen = {};
    const answer = ({ headers, body }) => {
      Object.assign(seen, { headers, body });
      return { headers: { "X-KMS-Response-Signature": vector.response_signature }, body: vector.reply_body };
    };
    const node = await nodeOf(vector, { "/nonce": () => ({ body: JSON.stringify({ nonce: vector.nonce }) }), "/kms/derive": answer, "/kms/data": answer });
    const asked = vector.request ? JSON.parse(vector.request) : {};
    const value = asked.value === undefined ? undefined : new Uint8Array(Buffer.from(asked.value, "base64"));
    const operation = {
      derive: { op: "derive", path: asked.path }, put: { op: "put", key: asked.key, value }, get: { op: "get", key: "config/db" },
      list: { op: "list" }, delete: { op: "delete", key: asked.key },
    }[vector.name];
    const result = await node.call(operation);
    assert.equal(seen.headers["X-App-Signature"], vector.signature);
    assert.equal(seen.headers["X-App-Timestamp"], vector.timestamp);
    assert.equal(result.appId, BigInt(vector.app_id));
    const reply = JSON.parse(vector.reply);
    assert.equal((result.key ?? result.value)?.base64(), vector.name === "derive" ? reply.key : reply.value);
    assert.equal(result.updatedAtMs, reply.updated_at_ms);
    assert.deepEqual(result.keys, reply.keys);
    if (!vector.request) {
      assert.equal(seen.body, undefined);
      continue;
    }
    const receiver = await identityOf(vector, "node");
    const point = node.identity.teePubkey.subarray(23);
    const inner = JSON.parse(utf8Decode(await openEnvelope(await receiver.channel(point), point, seen.body)));
    const { strict, ...rest } = inner;
    assert.equal(strict, true);
    const { ttl_ms, length, ...same } = asked; // which say what is so without them
    assert.deepEqual(rest, same);
  }
});

test("refuses a reply of version 1 that is to another request", async () => {
  const [derive, put] = vectors("exchange");
  const nonce = () => ({ body: JSON.stringify({ nonce: derive.nonce }) });
  for (const [body, signature] of [
    [derive.reply_body, put.response_signature], [put.reply_body, derive.response_signature], ["{}", derive.response_signature],
    [derive.reply_body, undefined], ["", derive.response_signature],
  ]) {
    const node = await nodeOf(derive, {
      "/nonce": nonce, "/kms/derive": () => ({ body, headers: signature ? { "X-KMS-Response-Signature": signature } : {} }),
    });
    await assert.rejects(node.call({ op: "derive", path: "wallet/root" }), (error) => error instanceof UnverifiedError && error.sent);
  }
});

test("opens a session, seals its messages and opens their answers", async () => {
  const vector = vectors("session").find(({ kind }) => kind === "app");
  const node = await nodeOf(vector);
  const open = () => signOpening(node, utf8(vector.request_body), vector.nonce, vector.timestamp, bytes(vector.caller_e_priv));
  const opening = await open();
  assert.equal(utf8Decode(opening.text), vector.message);
  assert.equal(opening.signature, vector.signature);
  const session = await finishOpening(node, opening, vector.answer_signature, utf8(vector.answer_body));
  assert.equal(hex(session.sid), vector.sid);
  assert.ok(opening.ephemeral.every((byte) => byte === 0));
  for (const message of vector.messages) {
    session.skipTo(Number(message.seq));
    const sealed = await session.seal(Number(message.time_ms), utf8(message.request_json));
    assert.equal(sealed.seq, Number(message.seq));
    assert.equal(hex(sealed.body), message.request);
    const answer = bytes(message.answer);
    assert.equal(utf8Decode((await session.open(sealed.seq, answer)).json), message.answer_json);
    await assert.rejects(session.open(sealed.seq + 1, answer), UnverifiedError);
    for (const at of [0, 7, 8, answer.length - 1]) {
      const changed = answer.slice();
      changed[at] ^= 1;
      await assert.rejects(session.open(sealed.seq, changed), UnverifiedError);
    }
    await assert.rejects(session.open(sealed.seq, answer.subarray(0, answer.length - 256)), UnverifiedError);
    await assert.rejects(session.open(sealed.seq, sealed.body.subarray(16)), UnverifiedError); // reflected
  }
  await assert.rejects(session.seal(0, utf8("{}")), { code: "ERR_STATE" }); // the last vector has the last number
  const [first] = vectors("session").filter(({ kind }) => kind === "peer");
  for (const [signature, body] of [
    [first.answer_signature, vector.answer_body], [vector.answer_signature, first.answer_body], ["", vector.answer_body],
    [vector.answer_signature, `${vector.answer_body} `],
  ]) {
    await assert.rejects(finishOpening(node, await open(), signature, utf8(body)), /the answer to an opening is not trusted/);
  }
});

test("writes operations of a session as the vectors have them, but for strict", () => {
  const operation = { op: "derive", path: "p", context: "c", length: 16 };
  const message = new Message();
  assert.ok(message.add(operation));
  assert.equal(utf8Decode(message.json()), '{"context":"c","length":16,"op":"derive","path":"p","strict":true}');
  assert.ok(message.add({ op: "put", key: "k\n", value: new Uint8Array([255]), ttlMs: 5 }));
  assert.equal(utf8Decode(message.json()).slice(67), ',{"key":"k\\n","op":"put","strict":true,"ttl_ms":5,"value":"/w=="}]');
});

test("encodes calls of the registries and decodes what they return", () => {
  const decoders = {
    "getInstanceByWallet(address)": (data, [instance]) => {
      const [id, appId, versionId, , url, key, wallet, zk, status] = instance ?? [];
      const read = decodeInstance(data);
      assert.deepEqual(
        [read.id, read.appId, read.versionId, read.url, hex(read.teePubkey), read.wallet, read.zkVerified, read.status],
        [BigInt(id), BigInt(appId), BigInt(versionId), url, key.replace(/^0x/, ""), wallet, zk, Number(status)],
      );
    },
    "getVersion(uint256,uint256)": (data, [version]) => {
      assert.deepEqual(decodeVersion(data), { id: BigInt(version[0]), status: Number(version[7]) });
    },
    "getActiveInstances(uint256)": (data, [list]) => assert.deepEqual(decodeAddresses(data), list),
    "kmsAppId()": (data, [id]) => assert.equal(decodeNumber(data), BigInt(id)),
    "operatorAt(uint256)": (data, [wallet]) => assert.equal(decodeAddress(data), wallet),
  };
  let count = 0;
  for (const vector of vectors("abi")) {
    const args = vector.args.map((arg) => (/^0x/.test(arg) ? arg : BigInt(arg)));
    if (args.every((arg) => typeof arg === "bigint" || arg.length === 42)) assert.equal(encodeCall(vector.signature, ...args), vector.calldata);
    const decode = decoders[vector.signature];
    if (!decode) continue;
    decode(bytes(vector.data), [vector.result]);
    assert.throws(() => decode(bytes(vector.data).subarray(1), [vector.result]), SyntaxError);
    count++;
  }
  assert.ok(count >= 15);
});
