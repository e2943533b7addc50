/**
 * An application's operations on a node, or on one of several: through sessions, and in version 1 of the protocol with nodes that
 * prove that they have none (docs/protocol.md section 15.5).
 */
import { compareUtf8 } from "./bytes.js";
import { ChainMembers } from "./chain/members.js";
import { Delivery, failedOutcome, notSent, withSent } from "./delivery.js";
import { ArgumentError, KmsError, UnverifiedError, isBusy, isRefused } from "./errors.js";
import { aborted, duration, sleep } from "./http.js";
import { KnownNodes } from "./known_nodes.js";
import { Message } from "./message.js";
import { checkOperation, isWrite } from "./operations.js";

const TIMEOUT_MS = 10_000;
const BUSY_WAIT_MS = 10_000;
const PAGE_KEYS = 10_000; // asked for at once
const TOO_LARGE = 413; // HTTP status

const OPTIONS = ["nodes", "chain", "identity", "timeoutMs", "busyWaitMs", "allowV1", "retryWrites", "requirePop", "knownNodes", "fetch", "now"];
const INSPECT = Symbol.for("nodejs.util.inspect.custom");

function flag(options, name) {
  if (options[name] === undefined || typeof options[name] === "boolean") return options[name] ?? false;
  throw new ArgumentError(`${name} must be true or false`);
}

function checkOptions(options) {
  if (typeof options !== "object" || options === null) throw new ArgumentError("the client takes an object with options");
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) throw new ArgumentError(`${unknown} is no option; there are: ${OPTIONS.join(", ")}`);
  const { identity } = options;
  if (typeof identity?.sign !== "function" || typeof identity.channel !== "function") {
    throw new ArgumentError("identity must be an Identity, or an object that signs and opens channels as it does");
  }
  if ((options.nodes === undefined) === (options.chain === undefined)) throw new ArgumentError("give either nodes or chain");
}

function addressesOf(nodes) {
  const list = Array.isArray(nodes) ? nodes : [nodes];
  if (list.length === 0) throw new ArgumentError("nodes is empty");
  return list.map((node) => (typeof node === "string" ? { url: node } : node));
}

const closed = () => new KmsError("the client was closed", { code: "ERR_STATE" });

/** A client of one node or several. */
export class KmsClient {
  #delivery;
  #members;
  #list;
  #settings;
  #closed = false;

  /**
   * Makes a client; nothing is sent until it is used. types/index.d.ts says what the options mean.
   * @param {object} options
   */
  constructor(options) {
    checkOptions(options);
    const fetchOf = options.fetch ?? globalThis.fetch;
    this.#settings = {
      identity: options.identity,
      fetch: (...request) => fetchOf(...request),
      timeoutMs: duration(options, "timeoutMs", TIMEOUT_MS, 1),
      busyWaitMs: duration(options, "busyWaitMs", BUSY_WAIT_MS, 0),
      allowV1: flag(options, "allowV1"),
      retryWrites: flag(options, "retryWrites"),
      requirePop: flag(options, "requirePop"),
      knownNodes: options.knownNodes ?? new KnownNodes(),
      now: options.now ?? Date.now,
      monotonic: () => performance.now(),
    };
    if (options.nodes !== undefined) this.#delivery = this.#deliver(addressesOf(options.nodes));
    else this.#members = new ChainMembers({ fetch: options.fetch, ...options.chain }, this.#settings.monotonic);
  }

  #deliver(addresses) {
    return new Delivery(this.#settings.identity, addresses, this.#settings);
  }

  async #nodes(signal) {
    if (!this.#members) return this.#delivery;
    const list = await this.#members.now(signal).catch((error) => {
      throw this.#closed ? closed() : error;
    });
    if (list !== this.#list) {
      this.#list = list;
      this.#delivery ??= this.#deliver([]);
      this.#delivery.update(list);
    }
    return this.#delivery;
  }

  /** Lets go of the keys of sessions; the nodes forget them by themselves. Later calls fail (ERR_STATE). */
  close() {
    this.#closed = true;
    this.#members?.close();
    this.#delivery?.close();
  }

  // ---- batches ----

  /** Takes operations from the front of the queue into a message. Those that no node takes get their outcome. */
  async #fill(run) {
    const room = run.operations.length > 1 ? await run.delivery.room(run.signal) : 1;
    const message = new Message();
    const positions = [];
    while (run.queue.length && positions.length < room) {
      const [position] = run.queue;
      const operation = run.operations[position];
      try {
        checkOperation(operation);
        if (!message.add(operation)) break;
        positions.push(position);
      } catch (error) {
        if (!(error instanceof KmsError)) throw error;
        run.outcomes[position] = { error };
      }
      run.queue.shift();
    }
    return { message, positions };
  }

  /** Waits for busy nodes, as long as the call may. @returns {Promise<boolean>} whether it has waited */
  async #waitForBusy(run, errors) {
    if (!errors.length) return false;
    const asked = Math.max(...errors.map((error) => error.retryAfterSeconds ?? 0)) * 1000;
    const waitMs = Math.max(asked, Math.min(200 * 2 ** run.waits, 5000));
    if (run.waitedMs + waitMs > this.#settings.busyWaitMs) return false;
    run.waits++;
    run.waitedMs += waitMs;
    await sleep(waitMs * (1 + Math.random() / 10), run.signal);
    return true;
  }

  /** Which operations of a message are sent again: reads whose answers had no room beside others, and what nodes were too busy for. */
  async #toRepeat(run, message, positions, nothingSent) {
    const errorOf = (position) => run.outcomes[position].error;
    // A write that is answered with 503 may have been made, without enough copies.
    const mayBeDone = (position) => !nothingSent && errorOf(position).status === 503 && isWrite(run.operations[position]);
    const mayRepeat = (position) => !mayBeDone(position) || this.#settings.retryWrites;
    const busy = new Set();
    const written = new Set(); // keys: what would come behind a later write that was made, or may have been, is not sent again
    for (const position of [...positions].reverse()) {
      const { key } = run.operations[position];
      if (isBusy(errorOf(position)?.status) && mayRepeat(position) && !written.has(key)) busy.add(position);
      else if (isWrite(run.operations[position]) && !isRefused(errorOf(position)?.status)) written.add(key);
    }
    const onlyReads = !message.operations.some(isWrite);
    const more = onlyReads && positions.some((position) => run.outcomes[position].result);
    const waited = await this.#waitForBusy(run, [...busy].map(errorOf));
    return positions.filter((position) => (waited && busy.has(position)) || (more && errorOf(position)?.status === TOO_LARGE));
  }

  /** Runs one message. Throws the error for which nothing more is sent. */
  async #runMessage(run) {
    let filled;
    try {
      filled = await this.#fill(run);
    } catch (error) {
      if (error instanceof KmsError && isBusy(error.status) && (await this.#waitForBusy(run, [error]))) return;
      throw error;
    }
    const { message, positions } = filled;
    if (!positions.length) return;
    const { outcomes, error, sent } = await run.delivery.run(message, run.signal).finally(() => message.wipe());
    positions.forEach((position, i) => {
      run.outcomes[position] = outcomes?.[i] ?? failedOutcome(message.operations[i], sent ? withSent(error) : error);
    });
    // Behind a write that may have been done or not, nothing is sent.
    const unknown = error && sent && message.operations.some(isWrite);
    const again = unknown ? [] : await this.#toRepeat(run, message, positions, error && !sent);
    for (const position of again) run.outcomes[position] = undefined;
    run.queue.unshift(...again);
    if (error && !again.length) throw error;
  }

  async #run(operations, signal) {
    if (this.#closed) throw closed();
    if (signal?.aborted) throw aborted(signal);
    const run = { operations, signal, outcomes: [], queue: operations.map((_, position) => position), waits: 0, waitedMs: 0 };
    run.delivery = await this.#nodes(signal);
    while (run.queue.length) {
      try {
        await this.#runMessage(run);
      } catch (error) {
        if (!(error instanceof KmsError)) throw error;
        for (const position of run.queue) run.outcomes[position] = operations.length > 1 ? notSent(error) : { error };
        run.queue = [];
      }
    }
    return run.outcomes;
  }

  /**
   * Runs operations in their order, in as few messages as they fit. One that fails stops no other; where a message gets no authentic
   * answer, those of later messages are not sent.
   * @param {object[]} operations
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<({ ok: true, result: object } | { ok: false, error: KmsError })[]>} in the same order
   */
  async batch(operations, { signal } = {}) {
    if (!Array.isArray(operations)) throw new ArgumentError("batch takes a list of operations");
    const outcomes = await this.#run([...operations], signal);
    return outcomes.map(({ result, error }) => (error ? { ok: false, error } : { ok: true, result }));
  }

  // ---- single operations ----

  async #call(operation, signal) {
    checkOperation(operation);
    const [{ result, error }] = await this.#run([operation], signal);
    if (error) throw error;
    return result;
  }

  /** Derives a key. @returns {Promise<SecretBytes>} the same for the same path and context, on every node */
  async derive(path, { signal, ...options } = {}) {
    const { key } = await this.#call({ ...options, op: "derive", path }, signal);
    return key;
  }

  /** Stores a value. @returns {Promise<{ appId: bigint, updatedAtMs: number, copies?: number }>} */
  put(key, value, { signal, ...options } = {}) {
    return this.#call({ ...options, op: "put", key, value }, signal);
  }

  /** Gets a value; throws NotFoundError where there is none. @returns {Promise<{ appId: bigint, value: SecretBytes, updatedAtMs: number }>} */
  get(key, { signal, ...options } = {}) {
    return this.#call({ ...options, op: "get", key }, signal);
  }

  /** Deletes a record; throws NotFoundError where there is none. @returns {Promise<{ appId: bigint, copies?: number }>} */
  delete(key, { signal, ...options } = {}) {
    return this.#call({ ...options, op: "delete", key }, signal);
  }

  /** One page of the names of keys. @returns {Promise<{ appId: bigint, keys: string[], next?: string }>} */
  async page({ signal, ...options } = {}) {
    const result = await this.#call({ ...options, op: "list" }, signal);
    // A node that knows no pages sends all of its keys at once.
    return { ...result, keys: result.keys.filter((key) => key.startsWith(options.prefix ?? "")) };
  }

  /** The names of all keys, in the order of their UTF-8 bytes, page after page. @returns {AsyncGenerator<string>} */
  async *list({ prefix, signal, pageSize = PAGE_KEYS } = {}) {
    let after;
    do {
      const { keys, next } = await this.page({ prefix, after, limit: pageSize, signal });
      yield* keys;
      if (next !== undefined && after !== undefined && compareUtf8(next, after) <= 0) throw new UnverifiedError("the node's pages do not end");
      after = next;
    } while (after !== undefined);
  }

  toString() {
    return `KmsClient(${this.#settings.identity.wallet})`;
  }

  toJSON() {
    return this.toString();
  }

  [INSPECT]() {
    return this.toString();
  }
}
