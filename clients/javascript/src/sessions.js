/**
 * The sessions with one node (docs/protocol.md section 15.5): opens one when it is needed, sends messages in it, gives it up where an
 * answer is not authentic, and says when version 1 may be spoken instead.
 */
import { equal, hex } from "./bytes.js";
import { AbortedError, KmsError, RefusedError, SessionError, UnavailableError, UnverifiedError, isBusy, unproved } from "./errors.js";
import { withSignal } from "./http.js";
import { readPlain } from "./node.js";
import { beginOpening, finishOpening } from "./session.js";
import { isWrite, wipeResult } from "./operations.js";
import { random } from "./webcrypto.js";

/** Stands for a session where the node has none: version 1 may be spoken. */
export const V1 = Symbol("version 1");

const MAX_OPENING = 65536; // bytes of an answer to an opening
const REMEMBERED = 8; // sessions that were given up and are named to the node
const EARLIER = 0.9; // of a session's times: it is not used up to its last second
const V1_MS = 3_600_000; // how long a node without sessions is not asked again

/** A page without a signature gave a refusal instead of what it should: in a session that proves nothing. */
export const asUnproved = (error) => (error instanceof RefusedError ? new SessionError(error.message) : error);

export class Sessions {
  /**
   * @param {import("./node.js").Node} node connected
   * @param {{ knownNodes: { has: Function, add: Function }, allowV1: boolean, monotonic: () => number }} options
   */
  constructor(node, options) {
    this.node = node;
    this.options = options;
    this.current = undefined;
    this.givenUp = [];
    this.v1Until = -Infinity;
    this.opening = undefined;
    this.closed = false;
  }

  // ---- the end of a session ----

  /** Uses a session no more. Its keys go when the last answer that is under way has come. */
  #drop(session) {
    if (this.current === session) this.current = undefined;
    if (session.over) return false;
    session.over = true;
    if (session.inFlight === 0) session.keys.close();
    return true;
  }

  /** The same, and has the node end it with the next opening, so that a message that was held back on the way dies. */
  #giveUp(session) {
    if (this.#drop(session)) this.givenUp = [...this.givenUp, session.keys.sid].slice(-REMEMBERED);
  }

  /** The times of a session, by a clock that nobody sets and by one that goes on while the machine sleeps. */
  #times() {
    return [this.options.monotonic(), this.node.now()];
  }

  #isOver(session) {
    const lifeMs = session.keys.lifeSeconds * 1000 * EARLIER;
    return this.#times().some((now, i) => now - session.opened[i] > lifeMs || now - session.used[i] > lifeMs / 4);
  }

  /** Lets go of the keys, once no answer is under way. */
  close() {
    this.closed = true;
    if (this.current) this.#giveUp(this.current);
  }

  // ---- opening ----

  async #openSession() {
    const { node } = this;
    let nonce;
    try {
      nonce = await node.nonce();
    } catch (error) {
      throw asUnproved(error);
    }
    const seconds = Math.floor(node.now() / 1000);
    const ends = [...this.givenUp];
    const opening = await beginOpening(node, ends, nonce, seconds);
    const headers = { ...node.proof(opening.signature, nonce, seconds), "Content-Type": "application/json" };
    const response = await node.request("/session", { method: "POST", headers, body: opening.body, maxBytes: MAX_OPENING });
    if (response.status !== 200) {
      opening.ephemeral.fill(0);
      throw this.#plain(response);
    }
    const signature = response.headers.get("x-kms-session-signature") ?? "";
    const keys = await finishOpening(node, opening, signature, response.body);
    this.givenUp = this.givenUp.filter((sid) => !ends.some((ended) => equal(ended, sid)));
    const now = this.#times();
    return { keys, opened: now, used: now, inFlight: 0, over: false };
  }

  #plain(response) {
    return unproved(response.status, readPlain(response, this.node.now()));
  }

  // ---- whether there are any ----

  /**
   * Asks in version 1, about a key that nobody uses. The node repeats the path, which was never used before, so its answer belongs
   * to this question: one that was recorded, or made for another request, names another path.
   */
  async #ask(refusal) {
    const path = `nova-kms/features/${hex(random(16))}`;
    let result;
    try {
      result = await this.node.call({ op: "derive", path, length: 1 }, { asksSessions: true });
    } catch (error) {
      const text = `${refusal.message}; asked for its features, the node does not say: ${error.message}`;
      if (!isBusy(error.status)) throw new SessionError(text);
      throw new UnavailableError(text, { code: "ERR_BUSY", status: error.status, retryAfterSeconds: error.retryAfterSeconds });
    }
    wipeResult(result);
    if (!result.hasSessions) return;
    await this.options.knownNodes.add(this.node.wallet);
    throw refusal;
  }

  /** Whether version 1 may be spoken after an opening has failed; throws where it may not. */
  async #mayBeV1(error) {
    const { http } = error;
    const unknownHere = http !== undefined && ((http >= 400 && http < 500) || http === 501) && !isBusy(http);
    if (!unknownHere) throw error;
    if (this.options.allowV1) return;
    if (await this.options.knownNodes.has(this.node.wallet)) throw error;
    await this.#ask(error);
  }

  async #open() {
    try {
      const session = await this.#openSession();
      if (this.closed) {
        this.#giveUp(session);
        throw new KmsError("the client was closed", { code: "ERR_STATE" });
      }
      this.current = session;
      await this.options.knownNodes.add(this.node.wallet);
      return session;
    } catch (error) {
      if (!(error instanceof KmsError)) throw error;
      await this.#mayBeV1(error);
      this.v1Until = this.options.monotonic() + V1_MS;
      return V1;
    }
  }

  /**
   * How to send operations now. Calls that run side by side share one opening, which no single signal ends.
   * @returns {Promise<object | typeof V1>}
   */
  async ready(signal) {
    const session = this.current;
    if (session && !this.#isOver(session)) return session;
    if (session) this.#giveUp(session);
    if (this.options.monotonic() < this.v1Until) return V1;
    this.opening ??= this.#open().finally(() => (this.opening = undefined));
    return withSignal(this.opening, signal);
  }

  // ---- messages ----

  async #readAnswer(session, message, seq, response) {
    if (response.status !== 200) {
      if (!isBusy(response.status)) this.#giveUp(session);
      throw Object.assign(this.#plain(response), { sent: true });
    }
    try {
      const { plain, json } = await session.keys.open(seq, response.body);
      try {
        const read = message.read(json);
        // The refusal of a caller is the last answer of a session.
        const only = read.whole || read.outcomes.length === 1 ? read.outcomes[0].error : undefined;
        if (only?.nodeCode === "unauthorized") this.#drop(session);
        return read;
      } finally {
        plain.fill(0);
      }
    } catch (error) {
      if (error instanceof UnverifiedError) this.#giveUp(session);
      throw error;
    }
  }

  async #exchange(session, message, signal) {
    const { node } = this;
    const json = message.json();
    let sealed;
    try {
      sealed = await session.keys.seal(node.now(), json);
    } catch (error) {
      if (error.code === "ERR_STATE") this.#giveUp(session); // used up
      throw error;
    } finally {
      json.fill(0);
    }
    const begun = this.#times();
    let response;
    try {
      const headers = { "Content-Type": "application/octet-stream" };
      response = await node.request("/session/message", { method: "POST", headers, body: sealed.body, signal });
    } catch (error) {
      // A read that its caller gave up costs no session.
      if (!(error instanceof AbortedError) || message.operations.some(isWrite)) this.#giveUp(session);
      throw error;
    }
    const read = await this.#readAnswer(session, message, sealed.seq, response);
    session.used = session.used.map((time, i) => Math.max(time, begun[i]));
    return read;
  }

  /**
   * Sends a message and opens its answer.
   * @returns {Promise<{ outcomes: object[], whole: boolean }>}
   */
  async exchange(session, message, signal) {
    // It may have ended while this call waited for it: nothing is sent.
    if (session.over) throw new SessionError("the session has ended");
    session.inFlight++;
    try {
      return await this.#exchange(session, message, signal);
    } finally {
      session.inFlight--;
      if (session.over && session.inFlight === 0) session.keys.close();
    }
  }
}
