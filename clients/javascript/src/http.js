/** HTTP by fetch: bounded in time and size, without redirects, cookies and caches. */
import { AbortedError, ArgumentError, UnavailableError, UnverifiedError, printable } from "./errors.js";
import { concat } from "./bytes.js";

// Failures of Node.js's fetch before anything was sent. Browsers do not tell: there, what fails may have been sent.
const NOT_SENT = new Set([
  "ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL", "UND_ERR_CONNECT_TIMEOUT",
  "CERT_HAS_EXPIRED", "DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);

const OK = 200;

/** Checks the base URL of a server. @returns {string} without a slash at its end */
export function baseUrl(text, what) {
  let url;
  try {
    url = new URL(text);
  } catch {
    throw new ArgumentError(`${what} is not a URL`, { code: "ERR_URL" });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new ArgumentError(`${what} must begin with http: or https:`, { code: "ERR_URL" });
  if (url.username || url.password || url.search || url.hash) {
    throw new ArgumentError(`${what} must have no user, query or fragment`, { code: "ERR_URL" });
  }
  return url.href.replace(/\/+$/, "");
}

const MAX_TIMER_MS = 2 ** 31 - 1;

/** An option that is a time in milliseconds, or the standard one. */
export function duration(options, name, standard, least) {
  const value = options[name] ?? standard;
  if (Number.isFinite(value) && value >= least && value <= MAX_TIMER_MS) return value;
  throw new ArgumentError(`${name} must be a number of milliseconds from ${least} to ${MAX_TIMER_MS}`);
}

/** What a call that the caller's signal has ended throws. */
export const aborted = (signal, sent = false) => new AbortedError("the call was aborted", { cause: signal.reason, sent });

/** Waits for a promise, but no longer than the signal allows. */
export async function withSignal(promise, signal) {
  if (!signal) return promise;
  let stop;
  const ended = new Promise((_, reject) => {
    stop = () => reject(aborted(signal));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  promise.catch(() => {}); // somebody else may still wait for it
  try {
    return await Promise.race([ended, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Waits so many milliseconds. */
export const sleep = (ms, signal) => {
  let timer;
  const waited = new Promise((resolve) => (timer = setTimeout(resolve, ms)));
  return withSignal(waited, signal).finally(() => clearTimeout(timer));
};

const MAX_ERROR = 65536; // bytes that are read of the body of an error: nobody has signed it

/** The beginning of a body; what of it is still to come is not waited for. */
async function readFront(response, bytes) {
  if (!response.body) return new Uint8Array(0);
  const reader = response.body.getReader();
  const parts = [];
  let total = 0;
  while (total < bytes) {
    const { done, value } = await reader.read();
    if (done) return concat(...parts);
    total += value.length;
    parts.push(value);
  }
  reader.cancel().catch(() => {});
  return concat(...parts).subarray(0, bytes);
}

async function readBody(response, maxBytes) {
  const tooLarge = () => new UnverifiedError(`the answer has more than ${maxBytes} bytes`, { code: "ERR_TOO_LARGE", sent: true });
  if (Number(response.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge();
  if (!response.body) return new Uint8Array(0);
  const reader = response.body.getReader();
  const parts = [];
  let total = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return concat(...parts);
    total += value.length;
    if (total > maxBytes) throw tooLarge();
    parts.push(value);
  }
}

function noAnswer(error, url) {
  const cause = error?.cause;
  const reason = [cause?.code, cause?.errors?.[0]?.code].find((code) => typeof code === "string");
  const words = reason ?? (cause instanceof Error ? printable(cause.message) : "fetch failed");
  const isSent = !NOT_SENT.has(reason) && words !== "bad port";
  // What fetch failed with may show headers, so it is not kept as the cause.
  return new UnavailableError(`${new URL(url).host}: no answer: ${words}`, { sent: isSent });
}

/**
 * Sends a request once.
 * @param {{ fetch: typeof fetch, url: string, method?: string, headers?: Record<string, string>, body?: Uint8Array, maxBytes: number,
 *   timeoutMs: number, signal?: AbortSignal }} options
 * @returns {Promise<{ status: number, headers: Headers, body: Uint8Array }>}
 * @throws {UnavailableError} `sent` says whether the server may have got the request
 */
export async function request(options) {
  const { url, method = "GET", headers, body, maxBytes, timeoutMs, signal } = options;
  if (signal?.aborted) throw aborted(signal);
  const controller = new AbortController();
  const stop = () => controller.abort();
  const timer = setTimeout(stop, timeoutMs);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const response = await options.fetch(url, {
      method, headers, body, redirect: "manual", credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer",
      signal: controller.signal,
    });
    // A redirection is an answer like any other, which says nothing; browsers hide which one it is.
    const status = response.type === "opaqueredirect" ? 307 : response.status;
    const read = status === OK ? await readBody(response, maxBytes) : await readFront(response, MAX_ERROR);
    return { status, headers: response.headers, body: read };
  } catch (error) {
    const timedOut = controller.signal.aborted;
    controller.abort(); // what of the answer is still to come is not waited for: the connection closes
    if (signal?.aborted) throw aborted(signal, true);
    if (timedOut) {
      throw new UnavailableError(`${new URL(url).host}: no answer within ${timeoutMs} ms`, { code: "ERR_TIMEOUT", sent: true });
    }
    throw error instanceof UnverifiedError ? error : noAnswer(error, url);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** The most that a node can ask to wait; what is more counts as this. */
export const MAX_WAIT_SECONDS = 999_999_999;

/** The seconds of a Retry-After: a number, or a date counted from the answer's own Date. @returns {number | undefined} */
export function retryAfter(headers, nowMs) {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  if (/^[0-9]+$/.test(value)) return Math.min(Number(value), MAX_WAIT_SECONDS);
  const until = Date.parse(value);
  if (Number.isNaN(until)) return undefined;
  const date = Date.parse(headers.get("date") ?? "");
  const from = Number.isNaN(date) ? nowMs : date;
  return Math.min(Math.max(0, Math.ceil((until - from) / 1000)), MAX_WAIT_SECONDS);
}
