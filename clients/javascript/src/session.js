/** A session with a node: its opening, and the messages in it (docs/protocol.md sections 15.1 and 15.2). */
import { x25519 } from "@noble/curves/ed25519.js";
import { be64, concat, equal, hex, unhex, utf8 } from "./bytes.js";
import { openEnvelope, sealEnvelope } from "./envelope.js";
import { KmsError, UnverifiedError } from "./errors.js";
import { parse, textMember } from "./json.js";
import { recoverWallet } from "./wallet.js";
import { gcmOpen, gcmSeal, hkdfAes, hkdfKey, random, sha256 } from "./webcrypto.js";

const SUITE = "x25519-sha256-aes256gcm";
const SID = 16;
const MAX_SEQ = 2 ** 32;
const MAX_LIFE_SECONDS = 604_800; // of a session, whatever a node grants
export const MAX_OPERATIONS = 256; // of a message, likewise
const LABEL = utf8("nova-kms");
const FRONT = 12; // bytes of the time and of the JSON's length
const BLOCK = 256; // plaintexts are a multiple of it
const TAG = 16;

// ---- opening ---------------------------------------------------------------------------------------------

const lengthAnd = (bytes) => concat(be64(bytes.length), bytes);

/**
 * Makes an ephemeral key, and seals and signs what asks for a session.
 * @param {import("./node.js").Node} node connected
 * @param {Uint8Array[]} ends sids that were given up, at most 8
 * @param {string} nonce of the node
 * @param {number} seconds Unix time
 * @param {Uint8Array} [ephemeral] for known answers; it is wiped
 */
export async function beginOpening(node, ends, nonce, seconds, ephemeral = random(32)) {
  const offer = { e: hex(x25519.getPublicKey(ephemeral)), op: "session", suite: SUITE };
  if (ends.length) offer.ends = ends.map(hex);
  const names = Object.keys(offer).sort();
  const body = await sealEnvelope(node.channel, node.identity.teePubkey, utf8(JSON.stringify(offer, names)));
  return signOpening(node, body, nonce, seconds, ephemeral);
}

/** The signed opening with a certain body. */
export async function signOpening(node, body, nonce, seconds, ephemeral) {
  const text = `NovaKMS:AppSession:${nonce}:${node.wallet}:${seconds}:${hex(await sha256(body))}`;
  return { ephemeral, body, text: utf8(text), signature: await node.identity.sign(text) };
}

/** An X25519 key: what RFC 7748 would reduce is refused. */
function publicKey(text) {
  const bytes = unhex(text, 32);
  if (!bytes) return null;
  let value = 0n;
  for (let i = 31; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]);
  return value < 2n ** 255n - 19n ? bytes : null;
}

function readGrant(plain) {
  let grant;
  try {
    grant = parse(plain);
  } catch {
    grant = undefined;
  }
  // Of a larger number than `most`, only that; integers that no number holds come as BigInt.
  const positive = (name, most) => {
    const value = grant.get(name);
    const counts = (typeof value === "bigint" || Number.isInteger(value)) && value > 0;
    return counts ? Math.min(Number(value), most) : null;
  };
  if (!(grant instanceof Map)) throw new UnverifiedError("it is not a JSON object");
  if (textMember(grant, "suite") !== SUITE) throw new UnverifiedError("it names another suite");
  const [e, sid] = [publicKey(textMember(grant, "e")), unhex(textMember(grant, "sid"), SID)];
  const [lifeSeconds, maxOperations] = [positive("expires_s", MAX_LIFE_SECONDS), positive("max_operations", MAX_OPERATIONS)];
  if (!e || !sid || !lifeSeconds || !maxOperations) throw new UnverifiedError("a member is missing or malformed");
  return { e, sid, lifeSeconds, maxOperations };
}

/**
 * Verifies the answer to an opening and derives the keys. Whatever is wrong, there is no session. The ephemeral key is wiped.
 * @param {string} answerSignature X-KMS-Session-Signature
 * @param {Uint8Array} body of the answer
 * @returns {Promise<Session>}
 * @throws {UnverifiedError}
 */
export async function finishOpening(node, opening, answerSignature, body) {
  try {
    const signed = `NovaKMS:SessionAnswer:${opening.signature}:${node.wallet}:${hex(await sha256(body))}`;
    if (recoverWallet(signed, answerSignature) !== node.wallet) throw new UnverifiedError("the signature is not the node's");
    const grant = readGrant(await openEnvelope(node.channel, node.point, body));
    const salt = await sha256(concat(lengthAnd(opening.text), lengthAnd(opening.body), lengthAnd(body)));
    let shared;
    try {
      shared = x25519.getSharedSecret(opening.ephemeral, grant.e);
    } catch {
      throw new UnverifiedError("the keys agree on zero");
    }
    const material = await hkdfKey(shared);
    shared.fill(0);
    const c2s = await hkdfAes(material, salt, utf8("nova-kms session c2s"), ["encrypt"]);
    const s2c = await hkdfAes(material, salt, utf8("nova-kms session s2c"), ["decrypt"]);
    return new Session(grant, c2s, s2c);
  } catch (error) {
    if (!(error instanceof UnverifiedError)) throw error;
    throw new UnverifiedError(`the answer to an opening is not trusted: ${error.message}`);
  } finally {
    opening.ephemeral.fill(0);
  }
}

// ---- messages --------------------------------------------------------------------------------------------

function padded(timeMs, json) {
  const plain = new Uint8Array(Math.ceil((FRONT + json.length) / BLOCK) * BLOCK);
  plain.set(be64(timeMs));
  new DataView(plain.buffer).setUint32(8, json.length);
  plain.set(json, FRONT);
  return plain;
}

/** The JSON in a plaintext. @returns {Uint8Array | null} null: the padding is not the shortest, or not zero */
function unpadded(plain) {
  const length = new DataView(plain.buffer, plain.byteOffset).getUint32(8);
  const used = FRONT + length;
  if (used > plain.length || plain.length - used >= BLOCK) return null;
  return plain.subarray(used).some((byte) => byte !== 0) ? null : plain.subarray(FRONT, used);
}

/** The keys of a session, which WebCrypto does not give out, and what numbers are used. */
export class Session {
  #c2s;
  #s2c;
  #seq = 0;

  constructor(grant, c2s, s2c) {
    this.sid = grant.sid;
    this.lifeSeconds = grant.lifeSeconds;
    this.maxOperations = grant.maxOperations;
    this.#c2s = c2s;
    this.#s2c = s2c;
  }

  /** Uses no number below this one any more. */
  skipTo(seq) {
    this.#seq = Math.max(this.#seq, seq - 1);
  }

  #label(seq) {
    const number = be64(seq);
    return { number, iv: concat(new Uint8Array(4), number), aad: concat(LABEL, this.sid, number) };
  }

  /**
   * Seals a message under a new number.
   * @param {number} timeMs Unix time
   * @param {Uint8Array} json
   * @returns {Promise<{ seq: number, body: Uint8Array }>}
   */
  async seal(timeMs, json) {
    if (!this.#c2s || this.#seq >= MAX_SEQ) throw new KmsError("the session is used up", { code: "ERR_STATE" });
    const seq = ++this.#seq;
    const { number, iv, aad } = this.#label(seq);
    const plain = padded(timeMs, json);
    const sealed = await gcmSeal(this.#c2s, iv, plain, aad);
    plain.fill(0);
    return { seq, body: concat(this.sid, number, sealed) };
  }

  /**
   * Opens the answer to the message with a number.
   * @returns {Promise<{ plain: Uint8Array, json: Uint8Array }>} json lies in plain, which the caller wipes
   * @throws {UnverifiedError}
   */
  async open(seq, body) {
    const wrong = (what) => new UnverifiedError(`what came is not the answer to this message: ${what}`, { sent: true });
    const { number, iv, aad } = this.#label(seq);
    const content = body.length - number.length - TAG;
    if (content < BLOCK || content % BLOCK) throw wrong("its length");
    if (!equal(body.subarray(0, number.length), number)) throw wrong("its number");
    const plain = this.#s2c && (await gcmOpen(this.#s2c, iv, body.subarray(number.length), aad));
    if (!plain) throw wrong("it does not decrypt");
    const json = unpadded(plain);
    if (json) return { plain, json };
    plain.fill(0);
    throw wrong("its padding");
  }

  /** Lets go of the keys: WebCrypto erases them when they are collected. */
  close() {
    this.#c2s = undefined;
    this.#s2c = undefined;
  }
}
