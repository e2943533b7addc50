/** The platform's WebCrypto: SHA-256, HKDF, AES-256-GCM, ECDH. */
import { KmsError } from "./errors.js";

// Node.js 18 has WebCrypto, but not as a global; bundlers for browsers need not resolve this.
const platform = globalThis.crypto ?? (await import(/* webpackIgnore: true */ /* @vite-ignore */ "node:crypto")).webcrypto;

if (!platform?.subtle) {
  throw new KmsError("WebCrypto is missing: a browser has it on pages of https: and localhost only", { code: "ERR_CRYPTO" });
}

export const subtle = platform.subtle;

/** @returns {Uint8Array} */
export const random = (length) => platform.getRandomValues(new Uint8Array(length));

/** @returns {Promise<Uint8Array>} */
export const sha256 = async (bytes) => new Uint8Array(await subtle.digest("SHA-256", bytes));

const NO_BYTES = new Uint8Array(0);
const AES = { name: "AES-GCM", length: 256 };
const TAG = 16;

const hkdf = (salt, info) => ({ name: "HKDF", hash: "SHA-256", salt: salt ?? NO_BYTES, info });

/** Key material for HKDF; it cannot be read again. */
export const hkdfKey = (bytes) => subtle.importKey("raw", bytes, "HKDF", false, ["deriveKey", "deriveBits"]);

/** HKDF-SHA256. @returns {Promise<Uint8Array>} */
export const hkdfBytes = async (key, salt, info, length) => new Uint8Array(await subtle.deriveBits(hkdf(salt, info), key, 8 * length));

/** An AES-256-GCM key by HKDF-SHA256, which never leaves WebCrypto. */
export const hkdfAes = (key, salt, info, usages) => subtle.deriveKey(hkdf(salt, info), key, AES, false, usages);

/** @returns {Promise<Uint8Array>} ciphertext || tag */
export const gcmSeal = async (key, iv, plain, additionalData = NO_BYTES) =>
  new Uint8Array(await subtle.encrypt({ name: "AES-GCM", iv, additionalData }, key, plain));

/** @returns {Promise<Uint8Array | null>} null: not authentic */
export async function gcmOpen(key, iv, sealed, additionalData = NO_BYTES) {
  if (sealed.length < TAG) return null;
  try {
    return new Uint8Array(await subtle.decrypt({ name: "AES-GCM", iv, additionalData }, key, sealed));
  } catch {
    return null;
  }
}
