/**
 * Brings operations to a node: chooses it among several, sends a message again or to the next node where that is allowed, and says
 * what came of each operation (docs/protocol.md section 15.5).
 */
import { hex } from "./bytes.js";
import { AbortedError, KmsError, OutcomeUnknownError, SessionError, isBusy, isLost } from "./errors.js";
import { Node } from "./node.js";
import { isWrite } from "./operations.js";
import { MAX_OPERATIONS } from "./session.js";
import { Sessions, V1, asUnproved } from "./sessions.js";

const MAX_SENDS = 4; // of a message: once, and three times again
const SAME_NODE = new Set([400, 409, 410]); // plain answers about the session, not about the node
const BACKOFF_MS = 250; // after one failure of a node; twice as long after each further one
const MAX_BACKOFF_MS = 30_000;

const addressText = ({ url, wallet, teePubkey }) => JSON.stringify([url, wallet, teePubkey instanceof Uint8Array ? hex(teePubkey) : teePubkey]);

/** What a failure means for one of the operations that were sent. */
export function failedOutcome(operation, error) {
  if (!isWrite(operation) || !error.sent || error instanceof OutcomeUnknownError) return { error };
  return { error: new OutcomeUnknownError(`the outcome is not known: ${error.message}`, { sent: true, cause: error }) };
}

/** An operation that was not sent, since one before it got no answer. */
export function notSent(error) {
  const Type = error instanceof OutcomeUnknownError ? SessionError : error.constructor;
  const { code, status, retryAfterSeconds } = error;
  return { error: new Type(`not sent: ${error.message}`, { code: Type === SessionError ? undefined : code, status, retryAfterSeconds }) };
}

export class Delivery {
  /**
   * @param {object} identity
   * @param {object[]} addresses { url, wallet, teePubkey }
   * @param {object} options of Node and Sessions, and retryWrites
   */
  constructor(identity, addresses, options) {
    this.identity = identity;
    this.options = options;
    this.at = 0;
    this.nodes = addresses.map((address) => this.#entry(address));
  }

  #entry(address) {
    return { address: addressText(address), node: new Node(address, this.options), failures: 0, retryAt: 0 };
  }

  // ---- nodes ----

  /** Takes another list of nodes. Those that stay keep their sessions; those that are gone are called no more. */
  update(addresses) {
    const known = new Map(this.nodes.map((entry) => [entry.address, entry]));
    const current = this.nodes[this.at];
    const gone = new Set(this.nodes);
    this.nodes = addresses.map((address) => known.get(addressText(address)) ?? this.#entry(address));
    for (const entry of this.nodes) gone.delete(entry);
    for (const entry of gone) entry.sessions?.close();
    const at = this.nodes.indexOf(current);
    // So that not every application begins with the same node.
    this.at = at >= 0 ? at : Math.floor(Math.random() * this.nodes.length);
  }

  async #connected(entry, signal) {
    if (entry.sessions) return;
    try {
      await entry.node.connect(this.identity, signal);
    } catch (error) {
      throw asUnproved(error);
    }
    entry.sessions ??= new Sessions(entry.node, this.options);
  }

  #nextNode(entry) {
    if (this.nodes[this.at] === entry) this.at = (this.at + 1) % this.nodes.length;
  }

  #failed(entry) {
    const wait = Math.min(BACKOFF_MS * 2 ** entry.failures++, MAX_BACKOFF_MS);
    entry.retryAt = this.options.monotonic() + wait * (0.5 + Math.random() / 2);
  }

  /** The nodes from the current one on; those that failed lately come last. */
  #inOrder() {
    const now = this.options.monotonic();
    const turn = [...this.nodes.slice(this.at), ...this.nodes.slice(0, this.at)];
    return [...turn.filter((entry) => entry.retryAt <= now), ...turn.filter((entry) => entry.retryAt > now)];
  }

  /**
   * A node that can be sent operations, the current one or one behind it.
   * @returns {Promise<{ entry: object, session: object | typeof V1 }>} throws what the last one asked has failed with
   */
  async #usable(signal) {
    let last;
    for (const entry of this.#inOrder()) {
      try {
        await this.#connected(entry, signal);
        const session = await entry.sessions.ready(signal);
        this.at = Math.max(0, this.nodes.indexOf(entry)); // it may have left meanwhile
        return { entry, session };
      } catch (error) {
        if (!(error instanceof KmsError) || error instanceof AbortedError) throw error;
        last = error;
        this.#failed(entry);
        this.#nextNode(entry);
      }
    }
    throw last;
  }

  // ---- one message ----

  /** Runs operations in version 1, one by one. Behind one that got no answer none is sent. */
  async #callV1(entry, operations, signal) {
    const outcomes = [];
    let lost;
    for (const operation of operations) {
      if (lost) {
        outcomes.push(notSent(lost));
        continue;
      }
      try {
        outcomes.push({ result: await entry.node.call(operation, { signal }) });
      } catch (error) {
        if (!(error instanceof KmsError)) throw error;
        if (isLost(error) || error instanceof AbortedError) lost = error;
        outcomes.push(failedOutcome(operation, error));
      }
    }
    return outcomes;
  }

  /** Whether a message whose answer did not come may be sent again. */
  #mayRepeat(error, sends, writes) {
    if (error instanceof AbortedError || error.code === "ERR_STATE" || sends >= MAX_SENDS) return false;
    if (writes && error.sent && !this.options.retryWrites) return false;
    if (this.nodes.length > 1) return true;
    // The only node there is: asked again at once where that can help.
    return error.code !== "ERR_TIMEOUT" && error.status === undefined;
  }

  /** Sends operations to a node, once. Returns { outcomes } or { error, again }. */
  async #send(entry, session, message, sends, signal) {
    const { operations } = message;
    const writes = operations.some(isWrite);
    const more = this.nodes.length > 1 && sends < MAX_SENDS;
    if (session === V1) {
      const outcomes = await this.#callV1(entry, operations, signal);
      // A first operation that got no answer, and was not done: nothing was.
      const { error } = outcomes[0];
      return more && error && isLost(error) ? { error, again: true } : { outcomes };
    }
    let read;
    try {
      read = await entry.sessions.exchange(session, message, signal);
    } catch (error) {
      if (!(error instanceof KmsError)) throw error;
      return { error, again: this.#mayRepeat(error, sends, writes) };
    }
    const { outcomes } = read;
    const allBusy = outcomes.every(({ error }) => isBusy(error?.status));
    // A write that a busy node refused may have been made there, without enough copies.
    if (!allBusy || !more || (writes && !this.options.retryWrites)) return { outcomes };
    return { error: outcomes[0].error, again: true };
  }

  /**
   * Sends a message, and again where that is allowed.
   * @param {import("./message.js").Message} message
   * @returns {Promise<{ outcomes: object[] } | { error: KmsError, sent: boolean }>} error: no authentic answer came; sent: the
   *   operations may have been done
   */
  async run(message, signal) {
    let last;
    let sent = false; // once it may have been done, a later try that was not sent does not make it undone
    for (let sends = 1; sends <= MAX_SENDS; sends++) {
      let usable;
      try {
        usable = await this.#usable(signal);
      } catch (error) {
        if (!(error instanceof KmsError)) throw error;
        return { error: error instanceof AbortedError ? error : (last ?? error), sent };
      }
      const { entry, session } = usable;
      const { outcomes, error, again } = await this.#send(entry, session, message, sends, signal);
      if (outcomes) {
        Object.assign(entry, { failures: 0, retryAt: 0 });
        return { outcomes: sent ? this.#afterLoss(outcomes, message.operations) : outcomes };
      }
      sent ||= error.sent;
      if (!again) return { error, sent };
      last = error;
      if (!SAME_NODE.has(error.http) || sends > 1) {
        this.#nextNode(entry);
        if (isLost(error)) this.#failed(entry);
      }
    }
    return { error: last, sent };
  }

  /** What came of operations that were sent before without an answer: a write that fails now may have been done then. */
  #afterLoss(outcomes, operations) {
    return outcomes.map((outcome, i) => {
      if (!outcome.error || !isWrite(operations[i])) return outcome;
      return failedOutcome(operations[i], withSent(outcome.error));
    });
  }

  /** How many operations a message may hold; opens a session where there is none. */
  async room(signal) {
    const { session } = await this.#usable(signal);
    return session === V1 ? MAX_OPERATIONS : session.keys.maxOperations;
  }

  /** Lets go of the keys of sessions; of those with answers under way when these have come. */
  close() {
    for (const entry of this.nodes) entry.sessions?.close();
  }
}

/** The same error, about an operation that may have been done. */
export function withSent(error) {
  if (error.sent) return error;
  const { code, status, nodeCode, retryAfterSeconds, http, cause } = error;
  return new error.constructor(error.message, { code, status, nodeCode, retryAfterSeconds, http, cause, sent: true });
}
