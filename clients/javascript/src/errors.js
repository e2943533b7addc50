/** What can go wrong, as classes. Programs branch on the class or on `code`; no message has a key or a value in it. */

const MAX_TEXT = 300; // characters of a text that comes from a node

/** One bounded line, fit for a terminal, of a text that somebody else wrote. */
export function printable(text) {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  return line.length > MAX_TEXT ? `${line.slice(0, MAX_TEXT)}...` : line;
}

/** The base of all errors that this package throws. */
export class KmsError extends Error {
  static code = "ERR_KMS";

  /**
   * @param {string} message
   * @param {{ code?: string, status?: number, nodeCode?: string, retryAfterSeconds?: number, sent?: boolean, http?: number, cause?: unknown }} [details]
   */
  constructor(message, details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = details.code ?? new.target.code;
    /** HTTP status, where a node refused or is busy. */
    this.status = details.status;
    /** The node's own code, of a refusal (docs/protocol.md section 2). */
    this.nodeCode = details.nodeCode === undefined ? undefined : printable(details.nodeCode);
    this.retryAfterSeconds = details.retryAfterSeconds;
    /** Whether the operation may have reached a node. */
    this.sent = details.sent ?? false;
    // Of a plain answer in a session: it proves nothing.
    Object.defineProperty(this, "http", { value: details.http, writable: true, enumerable: false });
  }
}

/** An argument or an option that cannot work; nothing was sent. */
export class ArgumentError extends KmsError {
  static code = "ERR_ARGUMENT";
}

/** The node refused: `status` and `nodeCode` as docs/protocol.md section 2 lists them. */
export class RefusedError extends KmsError {
  static code = "ERR_REFUSED";
}

/** There is no such record. */
export class NotFoundError extends RefusedError {}

/** What came is not provably the node's. */
export class UnverifiedError extends KmsError {
  static code = "ERR_UNVERIFIED";
}

/** No session could be opened, or plain answers came in one, which anybody on the way could have sent; and version 1 may not be spoken. */
export class SessionError extends KmsError {
  static code = "ERR_SESSION";
}

/** A put or delete may have been done or not. */
export class OutcomeUnknownError extends KmsError {
  static code = "ERR_OUTCOME";
}

/** No node took it: no connection or a broken one (ERR_CONNECT), no answer in time (ERR_TIMEOUT), or 429 and 503 (ERR_BUSY). */
export class UnavailableError extends KmsError {
  static code = "ERR_CONNECT";
}

/** The chain could not be read, or does not show what it should. */
export class ChainError extends KmsError {
  static code = "ERR_CHAIN";
}

/** The caller's AbortSignal ended the call. */
export class AbortedError extends KmsError {
  static code = "ERR_ABORTED";

  constructor(message, details) {
    super(message, details);
    this.name = "AbortError";
  }
}

/** The statuses of a node that asks to be called later. */
export const isBusy = (status) => status === 429 || status === 503;

/** Whether an HTTP status says that nothing was done. @param {number | undefined} status */
export const isRefused = (status) => status >= 400 && status < 500;

/** Whether an error says that no answer came. */
export const isLost = (error) => error instanceof UnavailableError && error.code !== "ERR_BUSY";

function refusalText(status, { nodeCode, reason, message, wait }) {
  const code = reason !== undefined && reason !== nodeCode ? `${nodeCode} (${reason})` : nodeCode;
  const line = printable(`HTTP ${status} ${code}: ${message}`);
  return wait === undefined ? line : `${line} (Retry-After: ${wait} s)`;
}

/**
 * A refusal that a node has proved, or one of version 1, which cannot be proved.
 * @param {number} status of HTTP
 * @param {{ nodeCode: string, reason?: string, message: string, wait?: number }} said what the node said
 */
export function refused(status, said) {
  const text = refusalText(status, said);
  const details = { status, nodeCode: said.nodeCode, retryAfterSeconds: said.wait };
  if (isBusy(status)) return new UnavailableError(text, { code: "ERR_BUSY", ...details });
  return status === 404 ? new NotFoundError(text, details) : new RefusedError(text, details);
}

/** A plain answer where a session's was due: anyone on the way could have sent it. Waiting is safe, so that is believed. */
export function unproved(status, said) {
  const text = refusalText(status, said);
  if (isBusy(status)) return new UnavailableError(text, { code: "ERR_BUSY", status, retryAfterSeconds: said.wait, http: status });
  return new SessionError(text, { http: status });
}
