/** Who an application instance is: its wallet and its P-384 key (docs/protocol.md section 1). */
import { hex, unhex, utf8 } from "./bytes.js";
import { ArgumentError } from "./errors.js";
import { agree, derOf, importPrivate } from "./p384.js";
import { gcmOpen, gcmSeal, hkdfAes, hkdfBytes, hkdfKey } from "./webcrypto.js";
import { signText, walletOf } from "./wallet.js";

const CHANNEL_INFO = utf8("encryption data");
const IDENTITY_SALT = utf8("nova-kms:identity");
const INSPECT = Symbol.for("nodejs.util.inspect.custom");

/** What two P-384 keys agreed on: seals and opens the bodies of envelopes. */
class Channel {
  #key;

  constructor(key) {
    this.#key = key;
  }

  seal(iv, plain) {
    return gcmSeal(this.#key, iv, plain);
  }

  open(iv, sealed) {
    return gcmOpen(this.#key, iv, sealed);
  }
}

function privateBytes(value, length, what) {
  const bytes = value instanceof Uint8Array ? value.slice() : unhex(value, length);
  if (bytes?.length === length) return bytes;
  throw new ArgumentError(`${what} must be ${length} bytes, as a Uint8Array or in hex`);
}

async function keysOf(walletKey, teeKey) {
  try {
    return { wallet: walletOf(walletKey), ...(await importPrivate(teeKey)) };
  } catch {
    // The cause could name the key.
    throw new ArgumentError("walletKey and teeKey must be private keys of secp256k1 and P-384");
  } finally {
    teeKey.fill(0);
  }
}

/** The keys of an application, held in this process. */
export class Identity {
  #walletKey;
  #teeKey;

  /** Use Identity.fromKeys or Identity.fromSeed. */
  constructor(walletKey, { wallet, key, point }) {
    this.#walletKey = walletKey;
    this.#teeKey = key;
    this.wallet = wallet;
    this.teePubkey = derOf(point);
  }

  /**
   * @param {{ walletKey: Uint8Array | string, teeKey: Uint8Array | string }} keys private keys, 32 and 48 bytes; they are copied
   * @returns {Promise<Identity>}
   */
  static async fromKeys({ walletKey, teeKey }) {
    const wallet = privateBytes(walletKey, 32, "walletKey");
    return new Identity(wallet, await keysOf(wallet, privateBytes(teeKey, 48, "teeKey")));
  }

  /**
   * The identity that follows from a seed, as in the seed files of `nova-kms keygen` and of a node's development mode.
   * @param {Uint8Array | string} seed 32 bytes, or their hex; a final newline is fine. It is copied
   * @returns {Promise<Identity>}
   */
  static async fromSeed(seed) {
    const bytes = privateBytes(typeof seed === "string" ? seed.trimEnd() : seed, 32, "seed");
    const material = await hkdfKey(bytes);
    bytes.fill(0);
    const wallet = await hkdfBytes(material, IDENTITY_SALT, utf8("wallet"), 32);
    return new Identity(wallet, await keysOf(wallet, await hkdfBytes(material, IDENTITY_SALT, utf8("p384"), 48)));
  }

  /** Signs a text by EIP-191. */
  async sign(text) {
    if (!this.#walletKey) throw new ArgumentError("the identity was wiped");
    return signText(this.#walletKey, text);
  }

  /** Agrees with a node. @param {Uint8Array} point97 the node's teePubkey as a point */
  async channel(point97) {
    const shared = await agree(this.#teeKey, point97);
    const material = await hkdfKey(shared);
    shared.fill(0);
    return new Channel(await hkdfAes(material, undefined, CHANNEL_INFO, ["encrypt", "decrypt"]));
  }

  /** Overwrites the wallet's key. */
  wipe() {
    this.#walletKey?.fill(0);
    this.#walletKey = undefined;
  }

  toString() {
    return `Identity(${this.wallet})`;
  }

  toJSON() {
    return { wallet: this.wallet, teePubkey: hex(this.teePubkey) };
  }

  [INSPECT]() {
    return this.toString();
  }
}
