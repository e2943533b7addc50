/** Bytes and texts: hex, base64, UTF-8, and what is compared or wiped. */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const utf8 = (text) => encoder.encode(text);

/** @returns {string} throws a TypeError for bytes that are not UTF-8 */
export const utf8Decode = (bytes) => decoder.decode(bytes);

/** Whether a text has a UTF-8 form: no surrogate stands alone. */
export const isWellFormed = (text) => !/\p{Surrogate}/u.test(text);

export function hex(bytes) {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** Hex of any case, with or without 0x. @returns {Uint8Array | null} null: not hex, or of another length */
export function unhex(text, length) {
  if (typeof text !== "string") return null;
  const digits = /^0x/i.test(text) ? text.slice(2) : text;
  if (digits.length % 2 || !/^[0-9a-f]*$/i.test(digits)) return null;
  if (length !== undefined && digits.length !== 2 * length) return null;
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Compares public bytes. */
export const equal = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** The order of texts by their UTF-8 bytes: below 0, 0 or above. */
export function compareUtf8(a, b) {
  const [x, y] = [utf8(a), utf8(b)];
  const shared = Math.min(x.length, y.length);
  for (let i = 0; i < shared; i++) if (x[i] !== y[i]) return x[i] - y[i];
  return x.length - y.length;
}

/** A number as 8 bytes, big-endian. */
export function be64(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return bytes;
}

// ---- base64, from bytes to bytes: what is encoded may be a secret, and a string cannot be wiped ----

const ALPHABET = utf8("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const PAD = 0x3d;
const VALUES = new Int16Array(256).fill(-1);
ALPHABET.forEach((c, i) => (VALUES[c] = i));

/** @returns {Uint8Array} base64 as ASCII */
export function base64Encode(bytes) {
  const out = new Uint8Array(Math.ceil(bytes.length / 3) * 4);
  for (let i = 0, at = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const group = (bytes[i] << 16) | (left > 1 ? bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
    out[at++] = ALPHABET[group >> 18];
    out[at++] = ALPHABET[(group >> 12) & 63];
    out[at++] = left > 1 ? ALPHABET[(group >> 6) & 63] : PAD;
    out[at++] = left > 2 ? ALPHABET[group & 63] : PAD;
  }
  return out;
}

/** Canonical base64 only (RFC 4648 section 4). @returns {Uint8Array | null} null: it is none */
export function base64Decode(ascii) {
  if (ascii.length % 4) return null;
  let padding = 0;
  while (padding < 2 && ascii.length && ascii[ascii.length - 1 - padding] === PAD) padding++;
  const out = new Uint8Array((ascii.length / 4) * 3 - padding);
  let wrong = 0; // negative once a character is outside the alphabet
  let rest = 0; // bits behind the last byte, which must be zero
  for (let i = 0, at = 0; i < ascii.length; i += 4) {
    let group = 0;
    for (let j = 0; j < 4; j++) {
      const value = i + j < ascii.length - padding ? VALUES[ascii[i + j]] : 0;
      wrong |= value;
      group = (group << 6) | (value & 63);
    }
    for (let shift = 16; shift >= 0; shift -= 8) {
      if (at < out.length) out[at++] = (group >> shift) & 255;
      else rest |= (group >> shift) & 255;
    }
  }
  if (wrong >= 0 && rest === 0) return out;
  out.fill(0);
  return null;
}
