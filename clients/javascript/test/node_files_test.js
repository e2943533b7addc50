// The files that Node.js programs share with the command line: seeds, and nodes with sessions.
import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { KnownNodesFile, defaultKnownNodesPath, identityFromSeedFile } from "../src/node/index.js";
import { Identity } from "../src/index.js";

const WALLETS = ["ab", "cd", "ef"].map((byte) => `0x${byte.repeat(20)}`);
let dir;
let path;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "nova-kms-client-"));
  path = join(dir, "file");
});
afterEach(() => rm(dir, { recursive: true }));

const unexpected = (message) => assert.fail(message);
const code = (name) => (error) => error.code === name && error.message.startsWith(path);

test("a seed file is this user's alone, and has 64 digits and a newline", async () => {
  await writeFile(path, `${"11".repeat(32)}\n`, { mode: 0o600 });
  assert.equal((await identityFromSeedFile(path)).wallet, (await Identity.fromSeed("11".repeat(32))).wallet);
  await chmod(path, 0o640);
  await assert.rejects(identityFromSeedFile(path), code("ERR_FILE_MODE"));
  await chmod(path, 0o600);
  for (const text of ["", `${"11".repeat(31)}\n`, `${"11".repeat(32)}0`, `0x${"11".repeat(31)}\n`, `${"zz".repeat(32)}\n`, `${"11".repeat(33)}\n`]) {
    await writeFile(path, text);
    await assert.rejects(identityFromSeedFile(path), code("ERR_FILE_FORMAT"), text);
  }
  await rm(path);
  await assert.rejects(identityFromSeedFile(path), code("ERR_FILE_MISSING"));
});

test("nodes with sessions are remembered in a private file, for the processes after it", async () => {
  path = join(dir, "state", "nova-kms", "known-nodes");
  const known = await KnownNodesFile.open(path, unexpected);
  await known.add(WALLETS[0]);
  await known.add(WALLETS[0]);
  assert.equal(await readFile(path, "utf8"), `${WALLETS[0]}\n`);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(join(dir, "state", "nova-kms"))).mode & 0o777, 0o700);
  const again = await KnownNodesFile.open(path, unexpected);
  assert.ok(again.has(WALLETS[0]) && !again.has(WALLETS[1]));
});

test("a file that others can write or take away, or that is something else, is refused", async () => {
  await writeFile(path, "", { mode: 0o600 });
  await KnownNodesFile.open(path, unexpected);
  await chmod(path, 0o620);
  await assert.rejects(KnownNodesFile.open(path, unexpected), code("ERR_FILE_MODE"));
  await chmod(path, 0o600);
  await chmod(dir, 0o777);
  await assert.rejects(KnownNodesFile.open(path, unexpected), code("ERR_FILE_MODE"));
  await chmod(dir, 0o1777); // as /tmp: only its owner can remove a file
  await KnownNodesFile.open(path, unexpected);
  for (const text of ["0x12\n", `${WALLETS[0]} \n`, "\0", `${WALLETS[0].slice(2)}\n`]) {
    await writeFile(path, text);
    await assert.rejects(KnownNodesFile.open(path, unexpected), code("ERR_FILE_FORMAT"), text);
  }
  await writeFile(path, "\n".repeat(1 << 20));
  await KnownNodesFile.open(path, unexpected);
  await writeFile(path, "\n".repeat((1 << 20) + 1));
  await assert.rejects(KnownNodesFile.open(path, unexpected), code("ERR_FILE_FORMAT"));
});

test("lines stay apart where an editor left the last one without its end", async () => {
  await writeFile(path, WALLETS[0].toUpperCase().replace("0X", "0x"), { mode: 0o600 });
  const known = await KnownNodesFile.open(path, unexpected);
  await Promise.all([known.add(WALLETS[1]), known.add(WALLETS[2])]);
  const again = await KnownNodesFile.open(path, unexpected);
  assert.ok(WALLETS.every((wallet) => again.has(wallet)));
});

test("a file that cannot be written is reported once", async () => {
  await writeFile(path, "", { mode: 0o600 });
  const reports = [];
  const known = await KnownNodesFile.open(join(path, "below-a-file"), (message) => reports.push(message)).catch(() => null);
  assert.equal(known, null); // its folder is a file
  const late = await KnownNodesFile.open(join(dir, "gone", "known-nodes"), (message) => reports.push(message));
  await writeFile(join(dir, "gone"), "");
  await late.add(WALLETS[0]);
  await late.add(WALLETS[1]);
  assert.equal(reports.length, 1);
  assert.ok(late.has(WALLETS[1]));
});

test("the default path is the user's state folder", () => {
  assert.equal(defaultKnownNodesPath({ XDG_STATE_HOME: "/s", HOME: "/h" }), "/s/nova-kms/known-nodes");
  assert.equal(defaultKnownNodesPath({ XDG_STATE_HOME: "s", HOME: "/h" }), "/h/.local/state/nova-kms/known-nodes");
  assert.equal(defaultKnownNodesPath({}), null);
});
