/**
 * Which nodes have had sessions, in a file of the user, one wallet a line; `nova-kms call` uses the same one.
 *
 * Whoever can take a line out of it, and sits on the way to the node, makes a client speak version 1: so a file that others can write,
 * or that is not understood, is refused.
 */
import { appendFile, mkdir } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { checkFolder, readPrivate, refuse } from "./private_file.js";

const MAX_BYTES = 1 << 20;

/** Where the file is unless somebody says otherwise (XDG Base Directory Specification). @returns {string | null} */
export function defaultKnownNodesPath(env = process.env) {
  const { XDG_STATE_HOME: state, HOME: home } = env;
  if (state && isAbsolute(state)) return join(state, "nova-kms", "known-nodes");
  if (home && isAbsolute(home)) return join(home, ".local", "state", "nova-kms", "known-nodes");
  return null;
}

function parse(path, text) {
  const lines = text.split("\n");
  lines.forEach((line, i) => {
    if (line !== "" && !/^0x[0-9a-f]{40}$/i.test(line)) throw refuse(path, `line ${i + 1} is not a node's wallet`, "ERR_FILE_FORMAT");
  });
  return lines.filter((line) => line !== "").map((line) => line.toLowerCase());
}

export class KnownNodesFile {
  #path;
  #wallets;
  #lead;
  #report;
  #writing = Promise.resolve();

  constructor(path, wallets, lead, report) {
    this.#path = path;
    this.#wallets = new Set(wallets);
    this.#lead = lead;
    this.#report = report;
  }

  /**
   * Opens the file, which need not exist yet.
   * @param {string} path
   * @param {(message: string) => void} [report] called once where the file cannot be written; default: console.warn
   * @returns {Promise<KnownNodesFile>}
   */
  static async open(path, report = (message) => console.warn(message)) {
    await checkFolder(path);
    const text = (await readPrivate(path, { maxBytes: MAX_BYTES }))?.toString("latin1") ?? "";
    const lead = text === "" || text.endsWith("\n") ? "" : "\n"; // an editor may have left the last line so
    return new KnownNodesFile(path, parse(path, text), lead, report);
  }

  has(wallet) {
    return this.#wallets.has(wallet);
  }

  /** Remembers that a node has sessions. A file that cannot be written is reported once, and does without. */
  add(wallet) {
    if (this.#wallets.has(wallet)) return this.#writing;
    this.#wallets.add(wallet);
    const line = `${this.#lead}${wallet}\n`;
    this.#lead = "";
    this.#writing = this.#writing.then(() => this.#append(wallet, line));
    return this.#writing;
  }

  async #append(wallet, line) {
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await appendFile(this.#path, line, { mode: 0o600 });
    } catch (error) {
      this.#report?.(`cannot remember that node ${wallet} has sessions: ${error.code ?? "the file was not written"}`);
      this.#report = undefined;
    }
  }
}
