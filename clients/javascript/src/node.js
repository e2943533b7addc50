/** One node as an application sees it: its public pages, its identity, and calls of version 1 of the protocol. */
import { unhex } from "./bytes.js";
import { openEnvelope, sealEnvelope } from "./envelope.js";
import { ArgumentError, UnverifiedError, printable, refused } from "./errors.js";
import { baseUrl, request, retryAfter } from "./http.js";
import { JsonText, parse, textMember } from "./json.js";
import { pointOf } from "./p384.js";
import { readResult, writeOperation } from "./operations.js";
import { canonicalWallet, recoverWallet } from "./wallet.js";

const MAX_PAGE = 8 << 20; // bytes of a public page
/** Bytes of the longest answer: a listing of 64 MiB in hex, with the key at which it goes on. */
export const MAX_ANSWER = 2 * ((64 << 20) + 6 * 65536 + 1024) + 1024;

const ROUTES = {
  derive: { method: "POST", path: () => "/kms/derive" },
  put: { method: "PUT", path: () => "/kms/data" },
  delete: { method: "DELETE", path: () => "/kms/data" },
  get: { method: "GET", path: ({ key }) => `/kms/data?key=${percentEncode(key)}` },
  list: { method: "GET", path: listPath },
};
const UNSURE = new Set([500, 502, 504]); // statuses after which an operation may have been done
const hasBody = (operation) => operation.op !== "get" && operation.op !== "list";

const percentEncode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

function listPath(operation) {
  const parts = ["prefix", "after", "limit"].filter((name) => operation[name]);
  const query = parts.map((name) => `${name}=${percentEncode(String(operation[name]))}`).join("&");
  return query ? `/kms/data?${query}` : "/kms/data";
}

/** What an answer of plain JSON says, all of it unproved: its code, reason and message, and the seconds of Retry-After. */
export function readPlain(response, nowMs) {
  let value;
  try {
    value = parse(response.body);
  } catch {
    value = undefined;
  }
  return {
    nodeCode: textMember(value, "code") ?? "error", reason: textMember(value, "reason"),
    message: textMember(value, "message") ?? "no reason given", wait: retryAfter(response.headers, nowMs),
  };
}

/** Checks the parts of an identity: the caller's, or those that a page names. */
function walletFrom(text, Wrong) {
  const wallet = canonicalWallet(text);
  if (wallet) return wallet;
  throw new Wrong("the node's identity: not a wallet address", { code: "ERR_ADDRESS" });
}

function pointFrom(key, Wrong) {
  const bytes = key instanceof Uint8Array ? key : unhex(key);
  if (!bytes) throw new Wrong("the node's identity: not valid hex", { code: "ERR_HEX" });
  const point = pointOf(bytes);
  if (point) return point;
  throw new Wrong("the node's identity: not a P-384 public key", { code: "ERR_PEER_KEY" });
}

export class Node {
  /**
   * A node at an address, not called yet.
   * @param {{ url: string, wallet?: string, teePubkey?: string | Uint8Array }} address
   * @param {{ fetch: Function, timeoutMs: number, now: () => number, requirePop: boolean }} options
   */
  constructor(address, options) {
    this.url = baseUrl(address.url, "the node's url");
    this.options = options;
    this.bindsPop = options.requirePop;
    if (address.wallet !== undefined) this.givenWallet = walletFrom(address.wallet, ArgumentError);
    if (address.teePubkey !== undefined) this.givenPoint = pointFrom(address.teePubkey, ArgumentError);
  }

  now() {
    return this.options.now();
  }

  request(path, options) {
    const { fetch, timeoutMs } = this.options;
    return request({ fetch, timeoutMs, maxBytes: MAX_ANSWER, ...options, url: this.url + path });
  }

  /** Gets a public page that is a JSON object. @returns {Promise<Map>} */
  async page(path, signal) {
    const response = await this.request(path, { maxBytes: MAX_PAGE, signal });
    if (response.status !== 200) {
      throw refused(response.status, readPlain(response, this.now()));
    }
    let value;
    try {
      value = parse(response.body);
    } catch {
      throw new UnverifiedError(`${path} is not JSON`, { code: "ERR_JSON" });
    }
    if (!(value instanceof Map)) throw new UnverifiedError(`${path} does not give a JSON object`, { code: "ERR_ANSWER" });
    return value;
  }

  /** Learns who the node is, once: what was given, or else what /status names. */
  async connect(identity, signal) {
    if (this.channel) return;
    let [wallet, point] = [this.givenWallet, this.givenPoint];
    if (!wallet || !point) {
      const named = (await this.page("/status", signal)).get("node");
      const [tee_wallet, tee_pubkey] = [textMember(named, "tee_wallet"), textMember(named, "tee_pubkey")];
      if (tee_wallet === undefined || tee_pubkey === undefined) throw new UnverifiedError("/status does not name the node's identity", { code: "ERR_ANSWER" });
      wallet ??= walletFrom(tee_wallet, UnverifiedError);
      point ??= pointFrom(tee_pubkey, UnverifiedError);
    }
    const channel = await identity.channel(point);
    if (this.channel) return; // another call was first; the node stays who it was
    Object.assign(this, { wallet, point, channel, identity });
  }

  /** Gets a nonce. */
  async nonce(signal) {
    const nonce = textMember(await this.page("/nonce", signal), "nonce");
    if (nonce === undefined || !/^[\x21-\x7e]{1,256}$/.test(nonce)) throw new UnverifiedError("/nonce does not give a nonce", { code: "ERR_ANSWER" });
    return nonce;
  }

  /** The headers that prove possession of the application's wallet. */
  proof(signature, nonce, seconds) {
    return { "X-App-Signature": signature, "X-App-Nonce": nonce, "X-App-Timestamp": String(seconds), "X-App-Wallet": this.identity.wallet };
  }

  /**
   * Calls the node once in version 1.
   * @returns {Promise<object>} the result; of the question, { hasSessions } too
   */
  async call(operation, { signal, asksSessions = false } = {}) {
    const nonce = await this.nonce(signal);
    const seconds = Math.floor(this.now() / 1000);
    const signature = await this.identity.sign(`NovaKMS:AppAuth:${nonce}:${this.wallet}:${seconds}`);
    const headers = this.proof(signature, nonce, seconds);
    let body;
    if (hasBody(operation)) {
      const inner = writeOperation(operation, { pop: signature, asksSessions });
      body = await sealEnvelope(this.channel, this.identity.teePubkey, inner);
      inner.fill(0);
      headers["Content-Type"] = "application/json";
    }
    const { method, path } = ROUTES[operation.op];
    const response = await this.request(path(operation), { method, headers, body, signal });
    if (response.status !== 200) {
      const plain = readPlain(response, this.now());
      const error = refused(response.status, plain);
      // A fault or a gateway; or an HTTP layer has sent the request twice, and the nonce is used up. It may have been done.
      error.sent = UNSURE.has(response.status) || plain.reason === "nonce_used";
      throw error;
    }
    return this.#open(operation, signature, response, asksSessions);
  }

  async #open(operation, signature, response, asksSessions) {
    const distrust = (error) =>
      error instanceof UnverifiedError ? new UnverifiedError(`the response is not trusted: ${error.message}`, { sent: true }) : error;
    const signed = `NovaKMS:Response:${signature}:${this.wallet}`;
    if (recoverWallet(signed, response.headers.get("x-kms-response-signature") ?? "") !== this.wallet) {
      throw distrust(new UnverifiedError("the signature is not the node's"));
    }
    let plain;
    try {
      plain = await openEnvelope(this.channel, this.point, response.body);
      return this.#read(parseInner(plain), operation, signature, asksSessions);
    } catch (error) {
      throw distrust(error);
    } finally {
      plain?.fill(0);
    }
  }

  #read(result, operation, signature, asksSessions) {
    const hasPop = result.has("pop");
    if (hasPop ? textMember(result, "pop") !== signature : this.bindsPop && hasBody(operation)) {
      throw new UnverifiedError("the body belongs to another request");
    }
    const features = asksSessions ? result.get("features") : undefined;
    if (features !== undefined && !(Array.isArray(features) && features.every((name) => name instanceof JsonText))) {
      throw new UnverifiedError("features is not a list of names");
    }
    const read = readResult(result, operation, Number(hasPop) + Number(features !== undefined));
    if (hasPop) this.bindsPop = true;
    if (asksSessions) read.hasSessions = (features ?? []).some((name) => name.toString() === "session");
    return read;
  }

  toString() {
    return printable(`Node(${this.url}, ${this.wallet ?? "not known yet"})`);
  }
}

function parseInner(plain) {
  try {
    const value = parse(plain);
    if (value instanceof Map) return value;
  } catch {
    // Below; the parser's words could show what is in the body.
  }
  throw new UnverifiedError("the body is not a JSON object");
}
