/**
 * Which nodes have had sessions, by wallet: a client never goes back to version 1 with one of them unless it is told to
 * (docs/protocol.md section 15.5). This one is forgotten with the process; node/known_nodes_file.js keeps it in a file.
 */
export class KnownNodes {
  #wallets;

  /** @param {Iterable<string>} [wallets] canonical: 0x and 40 lower-case digits */
  constructor(wallets = []) {
    this.#wallets = new Set(wallets);
  }

  has(wallet) {
    return this.#wallets.has(wallet);
  }

  add(wallet) {
    this.#wallets.add(wallet);
  }
}
