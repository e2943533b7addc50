/** A node for tests, behind a fetch: it opens sessions and answers as `answer` says. No key is derived, and nothing is kept. */
import { x25519 } from "@noble/curves/ed25519.js";
import { be64, concat, hex, utf8, utf8Decode } from "../../src/bytes.js";
import { openEnvelope, sealEnvelope } from "../../src/envelope.js";
import { Identity } from "../../src/identity.js";
import { pointOf } from "../../src/p384.js";
import { gcmOpen, gcmSeal, hkdfAes, hkdfKey, random, sha256 } from "../../src/webcrypto.js";

const lengthAnd = (bytes) => concat(be64(bytes.length), bytes);

export const callerSeed = "11".repeat(32);

export const json = (value, init) => new Response(JSON.stringify(value), init);

export class FakeNode {
  /** @param {string} seed hex, 2 digits, of its identity @param {Identity} caller */
  static async make(seed, caller, answer) {
    const node = new FakeNode();
    node.url = `http://node-${seed}.test`;
    node.identity = await Identity.fromSeed(seed.repeat(32));
    node.callerPoint = pointOf(caller.teePubkey);
    node.channel = await node.identity.channel(node.callerPoint);
    node.answer = answer;
    node.seen = []; // paths, and operations of messages
    node.sessions = new Map();
    return node;
  }

  get address() {
    return { url: this.url, wallet: this.identity.wallet, teePubkey: this.identity.teePubkey };
  }

  count(path) {
    return this.seen.filter((entry) => entry.path === path).length;
  }

  async handle(url, request) {
    const path = url.slice(this.url.length);
    this.seen.push({ path });
    const replaced = await this.page?.(path, request);
    if (replaced) return replaced;
    if (path === "/nonce") return json({ nonce: hex(random(16)) });
    if (path === "/session") return this.#open(request);
    if (path === "/session/message") return this.#message(request);
    return json({ code: "not_found", message: "no such route" }, { status: 404 });
  }

  async #open({ headers, body }) {
    const offer = JSON.parse(utf8Decode(await openEnvelope(this.channel, this.callerPoint, body)));
    this.seen.at(-1).ends = offer.ends ?? [];
    const [own, sid] = [random(32), random(16)];
    const grant = { e: hex(x25519.getPublicKey(own)), expires_s: 3600, max_operations: 256, sid: hex(sid), suite: offer.suite, ...this.grants };
    const answer = await sealEnvelope(this.channel, this.identity.teePubkey, utf8(JSON.stringify(grant)));
    const { "X-App-Nonce": nonce, "X-App-Timestamp": time, "X-App-Signature": signature } = headers;
    const text = `NovaKMS:AppSession:${nonce}:${this.identity.wallet}:${time}:${hex(await sha256(body))}`;
    const salt = await sha256(concat(lengthAnd(utf8(text)), lengthAnd(body), lengthAnd(answer)));
    const material = await hkdfKey(x25519.getSharedSecret(own, Uint8Array.from(Buffer.from(offer.e, "hex"))));
    this.sessions.set(hex(sid), {
      c2s: await hkdfAes(material, salt, utf8("nova-kms session c2s"), ["decrypt"]),
      s2c: await hkdfAes(material, salt, utf8("nova-kms session s2c"), ["encrypt"]),
    });
    const proof = await this.identity.sign(`NovaKMS:SessionAnswer:${signature}:${this.identity.wallet}:${hex(await sha256(answer))}`);
    return new Response(answer, { headers: { "X-KMS-Session-Signature": proof } });
  }

  async #message({ body }) {
    const [sid, number] = [body.subarray(0, 16), body.subarray(16, 24)];
    const session = this.sessions.get(hex(sid));
    if (!session) return json({ code: "session_unknown", message: "no such session" }, { status: 410 });
    const [iv, aad] = [concat(new Uint8Array(4), number), concat(utf8("nova-kms"), sid, number)];
    const plain = await gcmOpen(session.c2s, iv, body.subarray(24), aad);
    const length = new DataView(plain.buffer).getUint32(8);
    const asked = JSON.parse(utf8Decode(plain.subarray(12, 12 + length)));
    this.seen.at(-1).asked = asked;
    const said = await (Array.isArray(asked) ? Promise.all(asked.map(this.answer)) : this.answer(asked));
    const text = utf8(JSON.stringify(said));
    const padded = new Uint8Array(Math.ceil((12 + text.length) / 256) * 256);
    new DataView(padded.buffer).setUint32(8, text.length);
    padded.set(text, 12);
    return new Response(concat(number, await gcmSeal(session.s2c, iv, padded, aad)));
  }
}

/** What an honest node answers to operations: nothing is there. */
export function honest(operation) {
  const { op, path, key, length = 32 } = operation;
  const bytes = Buffer.alloc(length, 7).toString("base64");
  return {
    derive: { app_id: 1, key: bytes, length, path, status: 200 },
    put: { app_id: 1, copies: 2, key, status: 200, updated_at_ms: 5 },
    get: { code: "not_found", message: "not found", status: 404 },
    delete: { app_id: 1, deleted: true, key, status: 200 },
    list: { app_id: 1, count: 0, keys: [], status: 200 },
  }[op];
}

/** A fetch that finds nodes by their URL; where there is none, nobody listens. */
export const fetchOf = (...nodes) => (url, request) => {
  const node = nodes.find((one) => url.startsWith(`${one.url}/`));
  if (node) return node.handle(url, request);
  return Promise.reject(new TypeError("fetch failed", { cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }) }));
};
