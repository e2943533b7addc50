/**
 * JSON as the protocol has it (docs/protocol.md section 6), read from bytes. JSON.parse would take the last of two members of one
 * name, round large integers, and make strings of keys and values, which cannot be wiped. Here a text stays where it
 * stands until somebody asks for it.
 */
import { base64Decode, utf8, utf8Decode } from "./bytes.js";

const MAX_DEPTH = 16;
const MAX_VALUES = 1 << 20;

/** A text in JSON: its bytes between the quotes, which belong to the document. */
export class JsonText {
  constructor(bytes, escaped) {
    this.bytes = bytes;
    this.escaped = escaped;
  }

  toString() {
    if (!this.escaped) return utf8Decode(this.bytes);
    const text = JSON.parse(`"${utf8Decode(this.bytes)}"`);
    if (/\p{Surrogate}/u.test(text)) throw new SyntaxError("half of a surrogate pair");
    return text;
  }

  /** What the text says in base64. @returns {Uint8Array | null} */
  base64() {
    return this.escaped ? null : base64Decode(this.bytes);
  }
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.values = 0;
  }

  fail(what) {
    throw new SyntaxError(`not valid JSON: ${what} at byte ${this.at}`);
  }

  /** The next byte that is no white space. */
  next() {
    while ([0x20, 0x09, 0x0a, 0x0d].includes(this.bytes[this.at])) this.at++;
    return this.bytes[this.at];
  }

  take(byte) {
    if (this.next() !== byte) this.fail("an unexpected byte");
    this.at++;
  }

  value(depth) {
    if (++this.values > MAX_VALUES) this.fail("too many values");
    const first = this.next();
    if (first === 0x22) return this.text();
    if (first === 0x7b || first === 0x5b) {
      if (depth >= MAX_DEPTH) this.fail("too many levels");
      return first === 0x7b ? this.object(depth + 1) : this.array(depth + 1);
    }
    return this.word();
  }

  text() {
    this.take(0x22);
    const from = this.at;
    let escaped = false;
    for (;;) {
      const byte = this.bytes[this.at];
      if (byte === undefined || byte < 0x20) this.fail("a text without end, or a control character");
      if (byte === 0x22) break;
      escaped = escaped || byte === 0x5c;
      this.at += byte === 0x5c ? 2 : 1;
    }
    return new JsonText(this.bytes.subarray(from, this.at++), escaped);
  }

  object(depth) {
    const members = new Map();
    this.take(0x7b);
    if (this.next() === 0x7d) this.at++;
    else {
      for (;;) {
        const name = this.text().toString();
        if (members.has(name)) this.fail("a member that is there twice");
        this.take(0x3a);
        members.set(name, this.value(depth));
        if (this.next() === 0x7d) break;
        this.take(0x2c);
        this.next();
      }
      this.at++;
    }
    return members;
  }

  array(depth) {
    const list = [];
    this.take(0x5b);
    if (this.next() === 0x5d) this.at++;
    else {
      for (;;) {
        list.push(this.value(depth));
        if (this.next() === 0x5d) break;
        this.take(0x2c);
      }
      this.at++;
    }
    return list;
  }

  /** A number, true, false or null: what of them is not short is none. */
  word() {
    const from = this.at;
    while (/[-+.0-9A-Za-z]/.test(String.fromCharCode(this.bytes[this.at] ?? 0)) && this.at - from < 64) this.at++;
    const word = utf8Decode(this.bytes.subarray(from, this.at));
    if (/^-?(0|[1-9][0-9]*)$/.test(word)) {
      const number = Number(word);
      return Number.isSafeInteger(number) ? number : BigInt(word);
    }
    if (!/^(true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?)$/.test(word)) this.fail("no value");
    return JSON.parse(word);
  }
}

/**
 * Reads JSON.
 * @param {Uint8Array} bytes which the texts in the result point into
 * @returns {unknown} objects as Map, texts as JsonText, integers as number or, where that would round them, as bigint
 * @throws {SyntaxError} also for invalid UTF-8 in a name, duplicate members, more than 16 levels, trailing data
 */
export function parse(bytes) {
  const reader = new Reader(bytes);
  try {
    const value = reader.value(0);
    if (reader.next() !== undefined) reader.fail("trailing data");
    return value;
  } catch (error) {
    if (error instanceof TypeError) reader.fail("invalid UTF-8");
    throw error;
  }
}

/** A member that is a text. @returns {string | undefined} undefined: it is none, or not UTF-8 */
export function textMember(object, name) {
  const value = object instanceof Map ? object.get(name) : undefined;
  if (!(value instanceof JsonText)) return undefined;
  try {
    return value.toString();
  } catch {
    return undefined;
  }
}

/** Writes an object: members in their order; bytes stand for JSON as it is. @returns {Uint8Array[]} its parts */
export function objectParts(members) {
  const parts = [];
  for (const [name, value] of members) {
    parts.push(utf8(`${parts.length ? "," : "{"}${JSON.stringify(name)}:`));
    parts.push(value instanceof Uint8Array ? value : utf8(JSON.stringify(value)));
  }
  return [...parts, utf8(parts.length ? "}" : "{}")];
}
