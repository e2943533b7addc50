/** Bytes that nobody should see by accident: a derived key, a stored value. */
import { base64Encode, hex, utf8Decode } from "./bytes.js";
import { KmsError } from "./errors.js";

const INSPECT = Symbol.for("nodejs.util.inspect.custom");

/**
 * Holds secret bytes until wipe(). Neither toString() nor JSON nor console.log shows them. What is made of them with text(), hex() or
 * base64() is a string, which JavaScript cannot wipe.
 */
export class SecretBytes {
  #bytes;

  /** @param {Uint8Array} bytes which belong to the object from now on */
  constructor(bytes) {
    if (!(bytes instanceof Uint8Array)) throw new TypeError("SecretBytes takes a Uint8Array");
    this.#bytes = bytes;
  }

  get length() {
    return this.#bytes?.length ?? 0;
  }

  get wiped() {
    return this.#bytes === undefined;
  }

  /** The bytes themselves, no copy: wipe() overwrites them. */
  get bytes() {
    if (!this.#bytes) throw new KmsError("the secret was wiped", { code: "ERR_STATE" });
    return this.#bytes;
  }

  text() {
    return utf8Decode(this.bytes);
  }

  hex() {
    return hex(this.bytes);
  }

  base64() {
    return utf8Decode(base64Encode(this.bytes));
  }

  /** Overwrites the bytes with zeros. Again: does nothing. */
  wipe() {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  toString() {
    return this.#bytes ? `SecretBytes(${this.#bytes.length} bytes)` : "SecretBytes(wiped)";
  }

  toJSON() {
    return this.toString();
  }

  [INSPECT]() {
    return this.toString();
  }
}
// `using key = await client.derive(...)` wipes it at the end of the block, where the language has that.
if (Symbol.dispose) SecretBytes.prototype[Symbol.dispose] = SecretBytes.prototype.wipe;
