/** JSON-RPC 2.0 with one server, with strict checks of what it answers. */
import { unhex, utf8, utf8Decode } from "../bytes.js";
import { ArgumentError, ChainError, KmsError, printable } from "../errors.js";
import { baseUrl, request } from "../http.js";

const MAX_RESPONSE = 1 << 20;
const AT_ONCE = 8;

/** Runs a function on each of a list, some at a time. @returns {Promise<unknown[]>} in the list's order */
export async function mapSome(list, fn) {
  const results = [];
  let next = 0;
  const work = async () => {
    while (next < list.length) {
      const at = next++;
      results[at] = await fn(list[at]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, list.length) }, work));
  return results;
}

export class RpcServer {
  /** @param {string} url @param {{ fetch: Function, timeoutMs: number, signal?: AbortSignal }} options timeoutMs: for all calls, from now on */
  constructor(url, options) {
    const { href, host } = rpcUrl(url);
    this.url = href;
    this.host = host;
    this.options = options;
    this.until = performance.now() + options.timeoutMs;
    this.lastId = 0;
  }

  fail(what) {
    return new ChainError(`${this.host}: ${what}`);
  }

  /** Makes a call. @returns {Promise<unknown>} its result */
  async call(method, ...params) {
    const id = ++this.lastId;
    const body = utf8(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    const headers = { "Content-Type": "application/json", Accept: "application/json" };
    const timeoutMs = Math.ceil(this.until - performance.now());
    if (timeoutMs <= 0) throw this.fail(`not all answers within ${this.options.timeoutMs} ms`);
    let response;
    try {
      response = await request({ ...this.options, timeoutMs, url: this.url, method: "POST", headers, body, maxBytes: MAX_RESPONSE });
    } catch (error) {
      if (!(error instanceof KmsError) || error.code === "ERR_ABORTED") throw error;
      throw new ChainError(`the chain: ${error.message}`);
    }
    if (response.status !== 200) throw this.fail(`HTTP ${response.status}`);
    return this.#read(response.body, id);
  }

  #read(body, id) {
    let answer;
    try {
      answer = JSON.parse(utf8Decode(body));
    } catch {
      throw this.fail("an answer that is not JSON");
    }
    if (answer?.jsonrpc !== "2.0" || answer.id !== id) throw this.fail("no JSON-RPC 2.0 answer to this call");
    const error = answer.error ?? undefined;
    if (error !== undefined) {
      const { code, message } = error;
      const words = typeof message === "string" ? printable(message) : "no message";
      throw this.fail(`error ${Number.isSafeInteger(code) ? code : "without a code"}: ${words}`);
    }
    if (answer.result === undefined || answer.result === null) throw this.fail("an answer without a result");
    return answer.result;
  }

  /** Reads a contract. @returns {Promise<unknown>} what `decode` makes of the returned data */
  async read(contract, data, decode, block) {
    const bytes = unhex(await this.call("eth_call", { to: contract, data }, block));
    if (!bytes) throw this.fail("a contract gave no data");
    if (bytes.length === 0) throw this.fail(`there is no contract at ${contract}`);
    try {
      return decode(bytes);
    } catch (error) {
      throw this.fail(`a contract's data is ${error.message}`);
    }
  }
}

/** An RPC URL, which may have a key in its path or query: errors show its host alone. */
function rpcUrl(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    throw new ArgumentError("rpcUrl is not a URL", { code: "ERR_URL" });
  }
  const { search } = url;
  url.search = "";
  baseUrl(url.href, "rpcUrl");
  url.search = search;
  return url;
}
