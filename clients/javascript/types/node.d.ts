/** What only Node.js can do: the files of the command line. */
import type { Identity, NodeMemory } from "./index.js";

/** The identity of a seed file (mode 0600), such as a development node's demo-app.seed. */
export function identityFromSeedFile(path: string): Promise<Identity>;

/** Nodes with sessions in a file of this user's, one wallet a line; `nova-kms call` uses the same one. */
export class KnownNodesFile implements NodeMemory {
  private constructor();
  /**
   * Opens the file, which need not exist yet. One that others can write or take away is refused (ERR_FILE_MODE), one that is not
   * understood too (ERR_FILE_FORMAT). `report` is called once where it cannot be written; else console.warn.
   */
  static open(path: string, report?: (message: string) => void): Promise<KnownNodesFile>;
  has(wallet: string): boolean;
  add(wallet: string): Promise<void>;
}

/** $XDG_STATE_HOME/nova-kms/known-nodes, or in ~/.local/state; null: the user has no such folder. */
export function defaultKnownNodesPath(env?: Record<string, string | undefined>): string | null;
