// The package itself: what it exports and declares, and that its browser part needs nothing of Node.js.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

const root = new URL("../", import.meta.url);
const read = (name) => readFile(new URL(name, root), "utf8");
const manifest = JSON.parse(await read("package.json"));

async function sources(folder) {
  const entries = await readdir(new URL(folder, root), { withFileTypes: true });
  const lists = await Promise.all(entries.map((entry) => (entry.isDirectory() ? sources(`${folder}${entry.name}/`) : [folder + entry.name])));
  return lists.flat();
}

test("what is exported is declared, and the other way round", async () => {
  for (const [types, module] of [["types/index.d.ts", "src/index.js"], ["types/node.d.ts", "src/node/index.js"]]) {
    const declared = [...(await read(types)).matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
    assert.deepEqual(declared.sort(), Object.keys(await import(new URL(module, root))).sort());
  }
  const own = await import("nova-kms-client");
  assert.equal(own.KmsClient, (await import("../src/index.js")).KmsClient);
});

test("only the part for Node.js imports what Node.js alone has", async () => {
  const allowed = new Set([...Object.keys(manifest.dependencies)]);
  let count = 0;
  for (const name of await sources("src/")) {
    const text = await read(name);
    const imported = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*(?:\/\*.*?\*\/\s*)*"([^"]+)"/g)].map(([, from]) => from);
    for (const from of imported.filter((one) => !one.startsWith("."))) {
      const isNode = from.startsWith("node:");
      if (isNode && name.startsWith("src/node/")) continue;
      // Node.js 18 lacks the global; nothing else gets there.
      if (isNode && name === "src/webcrypto.js") {
        assert.match(text, /globalThis\.crypto \?\? \(await import\([^)]*"node:crypto"\)\)/);
        continue;
      }
      assert.ok(allowed.has(from.split("/").slice(0, 2).join("/")), `${name} imports ${from}`);
    }
    const code = text.replace(/\/\*[^]*?\*\/|\/\/.*/g, "");
    if (!name.startsWith("src/node/")) assert.doesNotMatch(code, /\b(Buffer|process|require|__dirname)\b[.(]/, name);
    count++;
  }
  assert.ok(count > 20);
});

test("dependencies are pinned, and the lock file names no registry", async () => {
  for (const version of Object.values({ ...manifest.dependencies, ...manifest.devDependencies })) assert.match(version, /^\d+\.\d+\.\d+$/);
  const { packages } = JSON.parse(await read("package-lock.json"));
  for (const [name, entry] of Object.entries(packages)) {
    assert.equal(entry.resolved, undefined, name);
    if (name !== "") assert.match(entry.integrity, /^sha512-/, name);
  }
});

test("no file is longer than can be read at once", async () => {
  for (const name of [...(await sources("src/")), ...(await sources("test/"))]) {
    const lines = (await read(name)).split("\n");
    assert.ok(lines.length <= 300, name);
    for (const line of lines) assert.ok(line.length <= 160 && !/\s$/.test(line), `${name}: ${line}`);
  }
});
