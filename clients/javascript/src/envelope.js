/** Envelopes: the encrypted bodies of docs/protocol.md section 6. */
import { equal, hex, unhex, utf8 } from "./bytes.js";
import { UnverifiedError } from "./errors.js";
import { parse, textMember } from "./json.js";
import { pointOf } from "./p384.js";
import { random } from "./webcrypto.js";

const NONCE = 32;
const IV = 12;
const MAX_COMMAS = 16;
const COMMA = 0x2c;

/**
 * Seals a body.
 * @param {{ seal: Function }} channel between the sender and the receiver
 * @param {Uint8Array} senderDer the sender's teePubkey
 * @param {Uint8Array} plain
 * @returns {Promise<Uint8Array>} JSON
 */
export async function sealEnvelope(channel, senderDer, plain, nonce = random(NONCE)) {
  const sealed = await channel.seal(nonce.subarray(0, IV), plain);
  return utf8(JSON.stringify({ encrypted_data: hex(sealed), nonce: hex(nonce), sender_tee_pubkey: hex(senderDer) }));
}

/**
 * Opens a body that a certain node has sealed.
 * @param {{ open: Function }} channel
 * @param {Uint8Array} point97 the node's teePubkey
 * @param {Uint8Array} body as received
 * @returns {Promise<Uint8Array>} the plaintext
 * @throws {UnverifiedError}
 */
export async function openEnvelope(channel, point97, body) {
  // Before it is parsed: it may be as long as a listing, and in version 1 anybody on the way can make it.
  let commas = 0;
  for (let at = body.indexOf(COMMA); at >= 0; at = body.indexOf(COMMA, at + 1)) {
    if (++commas > MAX_COMMAS) throw new UnverifiedError("the body is not an envelope");
  }
  let root;
  try {
    root = parse(body);
  } catch {
    throw new UnverifiedError("the body is not an envelope");
  }
  const [sender, nonce, data] = ["sender_tee_pubkey", "nonce", "encrypted_data"].map((name) => unhex(textMember(root, name)));
  if (!sender || !nonce || !data || nonce.length < IV) throw new UnverifiedError("the body is not an envelope");
  const point = pointOf(sender);
  if (!point || !equal(point, point97)) throw new UnverifiedError("the envelope is sealed by another key than the node's");
  const plain = await channel.open(nonce.subarray(0, IV), data);
  if (!plain) throw new UnverifiedError("the envelope does not decrypt");
  return plain;
}
