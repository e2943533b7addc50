/** The nodes that a client calls, from the chain: read anew every minute, and trusted for three. */
import { withSignal } from "../http.js";
import { nodesFromChain } from "./nodes.js";

const READ_MS = 60_000; // how often they are read
const TRUSTED_MS = 180_000; // how long they count: a node that the registry has dropped is called no longer
const AGAIN_MS = 5000; // how soon they are read again where that has failed

export class ChainMembers {
  #options;
  #monotonic;
  #list;
  #readAt = -Infinity;
  #triedAt = -Infinity;
  #reading;
  #stop = new AbortController();

  /** @param {object} options of nodesFromChain, without signal @param {() => number} monotonic milliseconds */
  constructor(options, monotonic) {
    this.#options = { ...options, signal: this.#stop.signal };
    this.#monotonic = monotonic;
  }

  /**
   * The nodes that there are now, the same array while nobody has read them anew. Calls side by side share one reading, which no single
   * signal ends; where the list is good for a while yet, none waits for it.
   */
  async now(signal) {
    const age = this.#monotonic() - this.#readAt;
    if (age > TRUSTED_MS) return withSignal(this.#read(), signal);
    if (age > READ_MS && this.#monotonic() - this.#triedAt > AGAIN_MS) this.#read().catch(() => {});
    return this.#list;
  }

  #read() {
    this.#reading ??= this.#readOnce().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readOnce() {
    const begun = this.#monotonic();
    this.#triedAt = begun;
    this.#list = await nodesFromChain(this.#options);
    this.#readAt = begun;
    return this.#list;
  }

  /** Ends a reading that is under way. */
  close() {
    this.#stop.abort();
  }
}
