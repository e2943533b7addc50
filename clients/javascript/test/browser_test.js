// The package in a browser, as it is: no bundler, an import map for its two dependencies. Needs Debian's chromium-headless-shell.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Identity } from "../src/index.js";
import { FakeNode, callerSeed, honest } from "./support/fake_node.js";

const root = new URL("../", import.meta.url);
const BROWSERS = ["chromium-headless-shell", "chromium"];
// It runs as root in CI, and shows pages of this test alone.
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
const PATIENCE_MS = 120_000;

const PAGE = `<!doctype html><title>nova-kms-client</title>
<script type="importmap">{"imports":{
  "nova-kms-client": "/src/index.js",
  "@noble/curves/": "/node_modules/@noble/curves/esm/", "@noble/hashes/": "/node_modules/@noble/hashes/esm/",
  "@noble/hashes/utils": "/node_modules/@noble/hashes/esm/utils.js", "@noble/hashes/crypto": "/node_modules/@noble/hashes/esm/crypto.js"
}}</script>
<script type="module">
  const lines = [];
  const say = (text) => lines.push(text);
  try {
    const { Identity, KmsClient, NotFoundError } = await import("nova-kms-client");
    const { address, seed } = await (await fetch("/setup")).json();
    const client = new KmsClient({ nodes: { ...address, url: location.origin }, identity: await Identity.fromSeed(seed) });
    const key = await client.derive("p", { length: 16 });
    say("derived " + key + " " + key.hex());
    say("put " + (await client.put("k", "v")).updatedAtMs);
    say("get " + (await client.get("k").catch((error) => error instanceof NotFoundError)));
    for await (const name of client.list()) say("listed " + name);
    say("deleted " + (await client.delete("k")).appId);
  } catch (error) {
    say("failed: " + error.stack);
  }
  await fetch("/said", { method: "POST", body: lines.join("\\n") });
</script>`;

const browser = () => BROWSERS.find((name) => spawnSync(name, ["--version"]).status === 0);

/** Serves the page, the package, and a node beside them: a node sends no CORS headers. */
async function serve(node, identity, said) {
  const server = createServer(async (incoming, outgoing) => {
    try {
      const { pathname } = new URL(incoming.url, "http://localhost");
      if (pathname === "/") return outgoing.setHeader("Content-Type", "text/html").end(PAGE);
      if (pathname === "/setup") {
        return outgoing.end(JSON.stringify({ seed: callerSeed, address: { ...node.address, teePubkey: identity.toJSON().teePubkey } }));
      }
      if (/^\/(src|node_modules\/@noble)\/[\w./@-]+\.js$/.test(pathname) && !pathname.includes("..")) {
        outgoing.setHeader("Content-Type", "text/javascript");
        return outgoing.end(await readFile(new URL(pathname.slice(1), root)));
      }
      const body = new Uint8Array(Buffer.concat(await incoming.toArray()));
      if (pathname === "/said") {
        said(Buffer.from(body).toString());
        return outgoing.end();
      }
      const proof = ["Nonce", "Timestamp", "Signature"].map((name) => [`X-App-${name}`, incoming.headers[`x-app-${name.toLowerCase()}`]]);
      const headers = Object.fromEntries(proof);
      const response = await node.handle(node.url + pathname, { headers, body });
      outgoing.writeHead(response.status, Object.fromEntries(response.headers));
      return outgoing.end(new Uint8Array(await response.arrayBuffer()));
    } catch (error) {
      return outgoing.writeHead(500).end(String(error));
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

test("it works in Chromium without a bundler", async (t) => {
  const program = browser();
  if (!program) return t.skip(`none of ${BROWSERS.join(", ")} is installed`);
  const node = await FakeNode.make("20", await Identity.fromSeed(callerSeed), honest);
  let said;
  const answer = new Promise((resolve) => (said = resolve));
  const server = await serve(node, node.identity, said);
  const profile = await mkdtemp(join(tmpdir(), "nova-kms-client-"));
  const child = spawn(program, [...FLAGS, `--user-data-dir=${profile}`, `http://localhost:${server.address().port}/`], {
    stdio: "ignore", detached: true, // Debian's program is a script that starts the browser: both end together
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const kill = () => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  };
  const timer = setTimeout(kill, PATIENCE_MS);
  try {
    const lines = await Promise.race([answer, ended.then((code) => `the browser ended: ${code}`)]);
    assert.deepEqual(lines.split("\n"), [`derived SecretBytes(16 bytes) ${"07".repeat(16)}`, "put 5", "get true", "deleted 1"]);
    assert.equal(node.count("/session"), 1);
  } finally {
    clearTimeout(timer);
    kill();
    await ended;
    server.closeAllConnections();
    server.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
});
