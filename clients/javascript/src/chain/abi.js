/** Contract ABI: the registry functions that a client reads, and what they return (docs/protocol.md section 14). */
import { keccak_256 } from "@noble/hashes/sha3.js";
import { hex, utf8, utf8Decode } from "../bytes.js";

const WORD = 32;
const MAX_URL = 2048;
const MAX_KEY = 256;
const INSTANCE_WORDS = 10;
const VERSION_WORDS = 10;

/** A call. @param {string} signature @param {(bigint | string)[]} args numbers, or wallets in canonical form */
export function encodeCall(signature, ...args) {
  const words = args.map((arg) => (typeof arg === "string" ? arg.slice(2) : arg.toString(16)).padStart(2 * WORD, "0"));
  return `0x${hex(keccak_256(utf8(signature)).subarray(0, 4))}${words.join("")}`;
}

const malformed = (what) => new SyntaxError(`malformed: ${what}`);

/** A part of returned data that offsets count from: all of it, or a struct and what follows it. */
class Part {
  constructor(bytes) {
    this.bytes = bytes;
  }

  /** The bytes of a word whose first ones must be zero. */
  #low(index, width) {
    const word = this.bytes.subarray(index * WORD, (index + 1) * WORD);
    if (word.length !== WORD || word.subarray(0, WORD - width).some((byte) => byte !== 0)) throw malformed("a word");
    return word.subarray(WORD - width);
  }

  number(index) {
    return BigInt(`0x${hex(this.#low(index, 8))}`);
  }

  small(index, most) {
    const [value] = this.#low(index, 1);
    if (value > most) throw malformed("a number");
    return value;
  }

  address(index) {
    return `0x${hex(this.#low(index, 20))}`;
  }

  size(index, most) {
    const value = this.number(index);
    if (value > BigInt(most)) throw malformed("a length or an offset");
    return Number(value);
  }

  /** The part at the offset in a word: behind the `fixed` words of this one, with `words` at least. */
  follow(index, fixed, words) {
    const offset = this.size(index, this.bytes.length);
    if (offset < fixed * WORD || this.bytes.length - offset < words * WORD) throw malformed("an offset");
    return new Part(this.bytes.subarray(offset));
  }

  /** A string or bytes member of a struct of `words` words. */
  data(index, words) {
    const part = this.follow(index, words, 1);
    const length = part.size(0, part.bytes.length - WORD);
    if (Math.ceil(length / WORD) * WORD > part.bytes.length - WORD) throw malformed("a length");
    return part.bytes.subarray(WORD, WORD + length);
  }
}

function open(data, words) {
  if (data.length < WORD || data.length % WORD) throw malformed("its size");
  return new Part(data).follow(0, 1, words);
}

function text(bytes) {
  try {
    return bytes.length <= MAX_URL ? utf8Decode(bytes) : "";
  } catch {
    return "";
  }
}

/** @returns {{ id: bigint, appId: bigint, versionId: bigint, url: string, teePubkey: Uint8Array, wallet: string, zkVerified: boolean, status: number }} */
export function decodeInstance(data) {
  const tuple = open(data, INSTANCE_WORDS);
  tuple.address(3);
  tuple.number(9);
  const teePubkey = tuple.data(5, INSTANCE_WORDS);
  return {
    id: tuple.number(0), appId: tuple.number(1), versionId: tuple.number(2), url: text(tuple.data(4, INSTANCE_WORDS)),
    teePubkey: teePubkey.length <= MAX_KEY ? teePubkey.slice() : new Uint8Array(0), wallet: tuple.address(6),
    zkVerified: tuple.small(7, 1) === 1, status: tuple.small(8, 255),
  };
}

/** @returns {{ id: bigint, status: number }} */
export function decodeVersion(data) {
  const tuple = open(data, VERSION_WORDS);
  for (const index of [1, 3, 4, 5, 6]) tuple.data(index, VERSION_WORDS);
  tuple.address(9);
  return { id: tuple.number(0), status: tuple.small(7, 255) };
}

/** @returns {string[]} wallets in canonical form */
export function decodeAddresses(data) {
  const list = open(data, 1);
  const count = list.size(0, list.bytes.length / WORD - 1);
  return Array.from({ length: count }, (_, i) => list.address(i + 1));
}

function oneWord(data) {
  if (data.length !== WORD) throw malformed("its size");
  return new Part(data);
}

export const decodeNumber = (data) => oneWord(data).number(0);
export const decodeAddress = (data) => oneWord(data).address(0);
