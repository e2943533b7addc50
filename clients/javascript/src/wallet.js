/** Ethereum wallets and EIP-191 signatures (docs/protocol.md section 1). */
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { concat, hex, unhex, utf8 } from "./bytes.js";

/** The canonical form of a wallet: 0x and 40 lower-case digits. @returns {string | null} */
export function canonicalWallet(text) {
  const bytes = unhex(text, 20);
  return bytes && `0x${hex(bytes)}`;
}

const digestOf = (text) => {
  const message = utf8(text);
  return keccak_256(concat(utf8(`\x19Ethereum Signed Message:\n${message.length}`), message));
};

const addressOf = (point65) => `0x${hex(keccak_256(point65.subarray(1)).subarray(12))}`;

/** @param {Uint8Array} key private key, 32 bytes. @returns {string} its wallet */
export const walletOf = (key) => addressOf(secp256k1.getPublicKey(key, false));

/** Signs a text. @returns {string} 0x, r, s and v (27 or 28) in hex */
export function signText(key, text) {
  const signature = secp256k1.sign(digestOf(text), key);
  return `0x${hex(signature.toCompactRawBytes())}${(27 + signature.recovery).toString(16)}`;
}

/** Who signed a text. @returns {string | null} the wallet; null: not a signature, or one with a high s */
export function recoverWallet(text, signatureText) {
  const bytes = unhex(signatureText, 65);
  if (!bytes) return null;
  const recovery = bytes[64] >= 27 ? bytes[64] - 27 : bytes[64];
  if (recovery !== 0 && recovery !== 1) return null;
  try {
    const signature = secp256k1.Signature.fromCompact(bytes.subarray(0, 64)).addRecoveryBit(recovery);
    if (signature.hasHighS()) return null;
    return addressOf(signature.recoverPublicKey(digestOf(text)).toRawBytes(false));
  } catch {
    return null;
  }
}
