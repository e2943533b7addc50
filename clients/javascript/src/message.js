/** The operations of one message, and what its answer says of each. */
import { concat, utf8 } from "./bytes.js";
import { UnverifiedError } from "./errors.js";
import { parse } from "./json.js";
import { readOutcome, readRefusal, writeOperation } from "./operations.js";

const MAX_JSON = 512 << 10; // of a message, unless one operation alone takes more

export class Message {
  constructor() {
    this.operations = [];
    this.parts = [];
    this.length = 0;
  }

  /** Adds an operation that checkOperation has accepted. @returns {boolean} false: there is no room for it */
  add(operation) {
    const json = writeOperation(operation);
    const length = this.length + json.length + 1;
    if (this.operations.length && length > MAX_JSON) {
      json.fill(0);
      return false;
    }
    this.operations.push(operation);
    this.parts.push(json);
    this.length = length;
    return true;
  }

  /** @returns {Uint8Array} one object, or an array; the caller wipes it */
  json() {
    if (this.parts.length === 1) return this.parts[0].slice();
    const comma = utf8(",");
    return concat(utf8("["), ...this.parts.flatMap((part, i) => (i ? [comma, part] : [part])), utf8("]"));
  }

  /**
   * Reads an authentic answer.
   * @param {Uint8Array} json
   * @returns {{ outcomes: ({ result: object } | { error: Error })[], whole: boolean }} whole: one refusal of all operations
   * @throws {UnverifiedError}
   */
  read(json) {
    const root = this.#parse(json);
    const count = this.operations.length;
    if (Array.isArray(root)) {
      if (count === 1 || root.length !== count) throw new UnverifiedError("what came is not an answer to each operation", { sent: true });
      return { outcomes: root.map((object, i) => readOutcome(object, this.operations[i])), whole: false };
    }
    if (!(root instanceof Map) || !Number.isSafeInteger(root.get("status"))) {
      throw new UnverifiedError("what came is neither results nor a refusal", { sent: true });
    }
    if (count === 1) return { outcomes: [readOutcome(root, this.operations[0])], whole: false };
    const error = readRefusal(root, root.get("status"));
    return { outcomes: this.operations.map(() => ({ error })), whole: true };
  }

  #parse(json) {
    try {
      return parse(json);
    } catch {
      throw new UnverifiedError("what came is not JSON", { sent: true });
    }
  }

  /** Overwrites the operations' JSON, which may have values. */
  wipe() {
    for (const part of this.parts) part.fill(0);
  }
}
