/** The JavaScript client of nova-kms. README.md shows how it is used; docs/protocol.md is what it speaks. */

// ---- secrets ----

/** Secret bytes. Neither toString() nor JSON nor console.log shows them; wipe() overwrites them. */
export class SecretBytes {
  /** Takes the bytes: they belong to the object from now on. */
  constructor(bytes: Uint8Array);
  /** 0 once it is wiped. */
  readonly length: number;
  readonly wiped: boolean;
  /** The bytes themselves, no copy. Throws KmsError (ERR_STATE) once they are wiped. */
  readonly bytes: Uint8Array;
  /** As UTF-8: a string, which cannot be wiped. */
  text(): string;
  /** As above, in hex. */
  hex(): string;
  /** As above, in base64. */
  base64(): string;
  /** Overwrites the bytes with zeros. */
  wipe(): void;
  toString(): string;
  toJSON(): string;
}

// ---- who calls ----

/** What two P-384 keys agreed on: AES-256-GCM, the tag behind the ciphertext. */
export interface Channel {
  seal(iv: Uint8Array, plain: Uint8Array): Promise<Uint8Array>;
  /** null: not authentic */
  open(iv: Uint8Array, sealed: Uint8Array): Promise<Uint8Array | null>;
}

/** What a client needs of an application's keys. Implement it where the keys are kept elsewhere, such as in a TEE service. */
export interface CallerIdentity {
  /** 0x and 40 lower-case digits. */
  readonly wallet: string;
  /** DER SubjectPublicKeyInfo of P-384, 120 bytes, as it is registered. */
  readonly teePubkey: Uint8Array;
  /** The EIP-191 signature of a text: 0x, r, s, v in hex. */
  sign(text: string): Promise<string>;
  /** The channel with a node: docs/protocol.md section 6. `point` is the node's teePubkey, uncompressed. */
  channel(point: Uint8Array): Promise<Channel>;
}

/** Keys that are held in this process. */
export class Identity implements CallerIdentity {
  private constructor();
  /** Private keys of 32 and 48 bytes, as bytes or in hex; they are copied, so overwrite yours. */
  static fromKeys(keys: { walletKey: Uint8Array | string; teeKey: Uint8Array | string }): Promise<Identity>;
  /** The identity that follows from a seed of 32 bytes (or 64 hexadecimal digits), as in seed files of nova-kms. */
  static fromSeed(seed: Uint8Array | string): Promise<Identity>;
  readonly wallet: string;
  readonly teePubkey: Uint8Array;
  sign(text: string): Promise<string>;
  channel(point: Uint8Array): Promise<Channel>;
  /** Overwrites the wallet's key; the identity signs no more. */
  wipe(): void;
  toString(): string;
  toJSON(): { wallet: string; teePubkey: string };
}

// ---- nodes ----

/** A node, and who it must be. Without wallet, or without teePubkey, what its /status names is trusted, and so is the way to it. */
export interface NodeAddress {
  url: string;
  wallet?: string | undefined;
  teePubkey?: Uint8Array | string | undefined;
}

export interface ChainOptions {
  /** Of several servers, two must show the same nodes. */
  rpcUrl: string | readonly string[];
  /** The cluster's KMSRegistry, which names the other two; those given must be these. */
  kmsRegistry?: string | undefined;
  /** NovaAppRegistry. */
  registry?: string | undefined;
  kmsAppId?: bigint | number | string | undefined;
  /** Of reading all nodes, as a whole: 30 000. */
  timeoutMs?: number | undefined;
  /** How old a server's newest block may be: 300 000. */
  maxHeadAgeMs?: number | undefined;
  /** How many blocks behind the newest one the chain is read at, so that a short reorganisation shows no other nodes: 6; 0 to 10 000. */
  confirmations?: number | undefined;
  /**
   * Take nodes too whose URL is http, localhost or a private or otherwise special address (a devnet). Without it they are left out; what the
   * name of a host leads to is not looked at.
   */
  allowPrivate?: boolean | undefined;
  signal?: AbortSignal | undefined;
  fetch?: typeof globalThis.fetch | undefined;
}

/** The members of a cluster that can be called, as the chain lists them; never empty. Throws ChainError. */
export function nodesFromChain(options: ChainOptions): Promise<{ url: string; wallet: string; teePubkey: Uint8Array }[]>;

/** Which nodes have had sessions, by wallet. The client asks before it speaks version 1. */
export interface NodeMemory {
  has(wallet: string): boolean | Promise<boolean>;
  add(wallet: string): void | Promise<void>;
}

/** A memory of this process alone; nova-kms-client/node has one in a file. */
export class KnownNodes implements NodeMemory {
  constructor(wallets?: Iterable<string>);
  has(wallet: string): boolean;
  add(wallet: string): void;
}

// ---- operations ----

export interface Derive {
  op: "derive";
  path: string;
  context?: string | undefined;
  /** 1 to 1024 bytes; 32 where absent. */
  length?: number | undefined;
}
export interface Put {
  op: "put";
  key: string;
  /** A string is stored as UTF-8. */
  value: Uint8Array | SecretBytes | string;
  /** Milliseconds; 0 or absent: for ever. */
  ttlMs?: number | undefined;
}
export interface Get {
  op: "get";
  key: string;
}
export interface Delete {
  op: "delete";
  key: string;
}
/** Without any of its members: all keys, where they fit into one answer. */
export interface List {
  op: "list";
  prefix?: string | undefined;
  after?: string | undefined;
  /** Keys of a page, 1 to 10 000. */
  limit?: number | undefined;
}
export type Operation = Derive | Put | Get | Delete | List;

export interface DeriveResult {
  appId: bigint;
  key: SecretBytes;
}
export interface PutResult {
  appId: bigint;
  updatedAtMs: number;
  /** How many nodes hold the write, where the node says it. */
  copies: number | undefined;
}
export interface GetResult {
  appId: bigint;
  value: SecretBytes;
  updatedAtMs: number;
}
export interface DeleteResult {
  appId: bigint;
  copies: number | undefined;
}
export interface ListResult {
  appId: bigint;
  keys: string[];
  /** The `after` of the next page, where more keys follow. */
  next: string | undefined;
}
export type ResultOf<O extends Operation> = O extends Derive
  ? DeriveResult
  : O extends Put
    ? PutResult
    : O extends Get
      ? GetResult
      : O extends Delete
        ? DeleteResult
        : ListResult;
export type Outcome<R> = { ok: true; result: R } | { ok: false; error: KmsError };

export interface CallOptions {
  /** Ends the call with AbortedError; a write that was under way with OutcomeUnknownError. */
  signal?: AbortSignal | undefined;
}

// ---- client ----

export interface ClientOptions {
  identity: CallerIdentity;
  /** One node or several: the client stays with one and goes on to the next on trouble. Either this or `chain`. */
  nodes?: string | NodeAddress | readonly (string | NodeAddress)[] | undefined;
  /** Reads the nodes from the chain, with the first call and then every minute. What was read counts for three minutes. */
  chain?: ChainOptions | undefined;
  /** Of each request: 10 000. */
  timeoutMs?: number | undefined;
  /**
   * How long a call may wait, in all, for nodes that say they are busy (429, 503): 10 000. 0: not at all. A write that is refused with 503 may
   * have been made, and is sent again with `retryWrites` only.
   */
  busyWaitMs?: number | undefined;
  /** Speak version 1 where no session can be opened, also with a node that had sessions. */
  allowV1?: boolean | undefined;
  /** Send a put or delete again whose answer did not come, though it may overwrite what others wrote meanwhile. */
  retryWrites?: boolean | undefined;
  /** In version 1: refuse replies that do not repeat the request's signature. Existing nodes do not repeat it. */
  requirePop?: boolean | undefined;
  knownNodes?: NodeMemory | undefined;
  fetch?: typeof globalThis.fetch | undefined;
  /** Unix time in milliseconds: Date.now. */
  now?: (() => number) | undefined;
}

export class KmsClient {
  /** Sends nothing. Throws ArgumentError for options that cannot work. */
  constructor(options: ClientOptions);
  /** The same key for the same path and context, on every node. */
  derive(path: string, options?: Omit<Derive, "op" | "path"> & CallOptions): Promise<SecretBytes>;
  put(key: string, value: Put["value"], options?: Omit<Put, "op" | "key" | "value"> & CallOptions): Promise<PutResult>;
  /** Throws NotFoundError where there is no such record. */
  get(key: string, options?: CallOptions): Promise<GetResult>;
  /** Throws NotFoundError where there is no such record. */
  delete(key: string, options?: CallOptions): Promise<DeleteResult>;
  /** The names of all keys, in the order of their UTF-8 bytes, page after page. */
  list(options?: { prefix?: string | undefined; pageSize?: number | undefined } & CallOptions): AsyncGenerator<string, void, void>;
  /** One page of them. */
  page(options?: Omit<List, "op"> & CallOptions): Promise<ListResult>;
  /** Runs operations in their order, in as few messages as they fit. One that fails stops no other. */
  batch<const T extends readonly Operation[]>(
    operations: T,
    options?: CallOptions,
  ): Promise<{ -readonly [I in keyof T]: Outcome<ResultOf<T[I]>> }>;
  /** Lets go of the keys of sessions; the nodes forget them by themselves. Later calls fail (ERR_STATE). */
  close(): void;
}

// ---- errors ----

/** The base of all errors of this package. No message has a key or a value in it. */
export class KmsError extends Error {
  readonly code: string;
  /** HTTP status, where a node refused or is busy. */
  readonly status: number | undefined;
  /** The node's code of a refusal: docs/protocol.md section 2. */
  readonly nodeCode: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  /** Whether the operation may have reached a node. */
  readonly sent: boolean;
}
/** An argument or option that cannot work; nothing was sent. ERR_ARGUMENT and codes of the field at fault. */
export class ArgumentError extends KmsError {}
/** The node refused. ERR_REFUSED */
export class RefusedError extends KmsError {}
/** There is no such record: a RefusedError of status 404. */
export class NotFoundError extends RefusedError {}
/** No node took it: ERR_CONNECT, ERR_TIMEOUT, or ERR_BUSY (429, 503). */
export class UnavailableError extends KmsError {}
/** What came is not provably the node's. ERR_UNVERIFIED and codes of what is wrong with a page. */
export class UnverifiedError extends KmsError {}
/** No session, or plain answers in one, which prove nothing; and version 1 may not be spoken. ERR_SESSION */
export class SessionError extends KmsError {}
/** A put or delete may have been done or not. ERR_OUTCOME */
export class OutcomeUnknownError extends KmsError {}
/** The chain could not be read, or lists no node. ERR_CHAIN */
export class ChainError extends KmsError {}
/** The caller's AbortSignal ended the call; its name is AbortError. ERR_ABORTED */
export class AbortedError extends KmsError {}
