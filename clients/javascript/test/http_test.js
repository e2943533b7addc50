// Requests against a real server: bounds, times, redirections, and whether what failed was sent.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { AbortedError, UnavailableError, UnverifiedError } from "../src/index.js";
import { baseUrl, request, retryAfter } from "../src/http.js";

let server;
let url;
let answer;

before(async () => {
  server = createServer((incoming, outgoing) => answer(incoming, outgoing));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${server.address().port}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

const get = (options) => request({ fetch: (...call) => fetch(...call), url, maxBytes: 100, timeoutMs: 20_000, ...options });
const sent = (Type, was) => (error) => error instanceof Type && error.sent === was;

test("an answer has as many bytes as it may, and none more", async () => {
  for (const chunked of [false, true]) {
    const write = (length) => {
      answer = (_, outgoing) => {
        if (!chunked) outgoing.setHeader("Content-Length", length);
        outgoing.write(Buffer.alloc(length - 1));
        outgoing.end("x");
      };
    };
    write(100);
    assert.equal((await get()).body.length, 100);
    write(101);
    await assert.rejects(get(), (error) => error instanceof UnverifiedError && error.code === "ERR_TOO_LARGE");
  }
});

test("of an error the beginning is read, and what follows is not waited for", async () => {
  let closed;
  for (const [length, read] of [[65535, 65535], [65536, 65536], [65537, 65536], [1 << 20, 65536]]) {
    answer = (incoming, outgoing) => {
      closed = new Promise((resolve) => incoming.socket.once("close", resolve));
      outgoing.writeHead(503, { "Retry-After": "4" });
      outgoing.write(Buffer.alloc(length));
      if (length <= 65536) outgoing.end();
    };
    const { status, headers, body } = await get({ timeoutMs: 600_000 });
    assert.deepEqual([status, headers.get("retry-after"), body.length], [503, "4", read]);
    if (length > 65536) await closed;
  }
});

test("an answer that is announced as too large is not waited for, and its connection closes", async () => {
  let closed;
  answer = (incoming, outgoing) => {
    closed = new Promise((resolve) => incoming.socket.once("close", resolve));
    outgoing.setHeader("Content-Length", 101);
    outgoing.flushHeaders();
  };
  await assert.rejects(get({ timeoutMs: 600_000 }), { code: "ERR_TOO_LARGE" });
  await closed;
});

test("a request has its time, also for an answer that trickles in", async () => {
  answer = () => {};
  await assert.rejects(get({ timeoutMs: 50 }), (error) => sent(UnavailableError, true)(error) && error.code === "ERR_TIMEOUT");
  answer = (_, outgoing) => {
    outgoing.write("x");
  };
  await assert.rejects(get({ timeoutMs: 300 }), { code: "ERR_TIMEOUT" });
});

test("a signal ends it", async () => {
  const controller = new AbortController();
  answer = () => controller.abort();
  await assert.rejects(get({ signal: controller.signal }), sent(AbortedError, true));
  await assert.rejects(get({ signal: controller.signal }), sent(AbortedError, false));
});

test("a redirection is an answer, and is not followed", async () => {
  const paths = [];
  answer = (incoming, outgoing) => {
    paths.push(incoming.url);
    outgoing.writeHead(307, { Location: "/elsewhere" }).end();
  };
  assert.equal((await get()).status, 307);
  assert.deepEqual(paths, ["/"]);
  assert.equal((await get({ fetch: async () => ({ type: "opaqueredirect", status: 0, headers: new Headers(), body: null }) })).status, 307);
});

test("what was not sent is told from what may have been", async () => {
  answer = (incoming) => incoming.socket.destroy();
  await assert.rejects(get(), sent(UnavailableError, true));
  answer = (incoming, outgoing) => {
    outgoing.writeHead(200, { "Content-Length": 50 });
    outgoing.write("half");
    setImmediate(() => incoming.socket.destroy());
  };
  await assert.rejects(get(), sent(UnavailableError, true));
  // The caller's port of a connection, at which nobody listens as long as that is open.
  const other = connect(server.address().port, "127.0.0.1");
  await once(other, "connect");
  await assert.rejects(get({ url: `http://127.0.0.1:${other.localPort}` }), sent(UnavailableError, false));
  other.destroy();
  await assert.rejects(get({ url: "http://127.0.0.1:1" }), sent(UnavailableError, false)); // a port that fetch refuses
  await assert.rejects(get({ url: "http://nobody.invalid" }), sent(UnavailableError, false));
});

test("no cookie, cache or referrer goes with a request", async () => {
  let seen;
  await get({
    fetch: async (_, options) => {
      seen = options;
      return new Response("");
    },
  });
  assert.deepEqual([seen.credentials, seen.cache, seen.referrerPolicy, seen.redirect], ["omit", "no-store", "no-referrer", "manual"]);
});

test("Retry-After is seconds or a date, within bounds", () => {
  const seconds = (value, date) =>
    retryAfter(new Headers({ ...(value !== undefined && { "Retry-After": value }), ...(date && { Date: date }) }), 0);
  assert.equal(seconds(), undefined);
  assert.equal(seconds("soon"), undefined);
  assert.equal(seconds("7"), 7);
  assert.equal(seconds("9".repeat(30)), 999_999_999);
  assert.equal(seconds("Thu, 01 Jan 1970 00:00:09 GMT"), 9);
  assert.equal(seconds("Thu, 01 Jan 1970 00:00:09 GMT", "Thu, 01 Jan 1970 00:00:05 GMT"), 4);
  assert.equal(seconds("Thu, 01 Jan 1970 00:00:09 GMT", "Thu, 01 Jan 1970 00:01:00 GMT"), 0);
});

test("a base URL keeps its path and loses its last slash", () => {
  assert.equal(baseUrl("https://x.test/kms//", "url"), "https://x.test/kms");
  assert.equal(baseUrl("http://X.test", "url"), "http://x.test");
});
