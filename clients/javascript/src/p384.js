/** P-384 keys as the protocol has them (docs/protocol.md sections 1 and 6), on WebCrypto. */
import { p384 } from "@noble/curves/p384.js";
import { concat, equal, unhex } from "./bytes.js";
import { subtle } from "./webcrypto.js";

const POINT = 97;
const DER_HEAD = unhex("3076301006072a8648ce3d020106052b81040022036200");
// What stands before the private key and before the point in a PrivateKeyInfo (RFC 5958, RFC 5915).
const PKCS8_HEAD = unhex("3081b6020100301006072a8648ce3d020106052b8104002204819e30819b0201010430");
const PKCS8_POINT = unhex("a164036200");
const CURVE = { name: "ECDH", namedCurve: "P-384" };

/** The DER form of a point, 120 bytes. */
export const derOf = (point97) => concat(DER_HEAD, point97);

/**
 * The point of a teePubkey: exactly a SubjectPublicKeyInfo of 120 bytes or an uncompressed point of 97, on the curve.
 * @returns {Uint8Array | null}
 */
export function pointOf(key) {
  if (!(key instanceof Uint8Array)) return null;
  const isDer = key.length === DER_HEAD.length + POINT && equal(key.subarray(0, DER_HEAD.length), DER_HEAD);
  const point = isDer ? key.slice(DER_HEAD.length) : key.slice();
  if (point.length !== POINT || point[0] !== 4) return null;
  try {
    p384.Point.fromHex(point).assertValidity();
    return point;
  } catch {
    return null;
  }
}

/**
 * Takes a private key into WebCrypto, from which it cannot be read again.
 * @param {Uint8Array} scalar 48 bytes
 * @returns {Promise<{ key: CryptoKey, point: Uint8Array }>}
 */
export async function importPrivate(scalar) {
  const point = p384.getPublicKey(scalar, false);
  const pkcs8 = concat(PKCS8_HEAD, scalar, PKCS8_POINT, point); // bytes, as a JWK's text could not be wiped
  try {
    return { key: await subtle.importKey("pkcs8", pkcs8, CURVE, false, ["deriveBits"]), point };
  } finally {
    pkcs8.fill(0);
  }
}

/** @returns {Promise<Uint8Array>} the x-coordinate that two keys agree on, 48 bytes */
export async function agree(privateKey, point97) {
  const other = await subtle.importKey("raw", point97, CURVE, false, []);
  return new Uint8Array(await subtle.deriveBits({ name: "ECDH", public: other }, privateKey, 384));
}
