/** Registries on a made-up RPC server. */
import { encodeCall } from "../../src/chain/abi.js";
import { hex, utf8 } from "../../src/bytes.js";
import { vectors } from "./vectors.js";

export const KMS = `0x${"aa".repeat(20)}`;
export const REGISTRY = `0x${"bb".repeat(20)}`;
export const APP = 49n;
export const PUBKEY = vectors("exchange")[0].node_tee_pubkey;
export const walletOf = (n) => `0x${n.toString(16).padStart(2, "0").repeat(20)}`;

export const word = (value) => (typeof value === "string" ? value.replace(/^0x/, "") : BigInt(value).toString(16)).padStart(64, "0");
const dynamic = (hexBytes) => word(hexBytes.length / 2) + hexBytes.padEnd(Math.ceil(hexBytes.length / 64) * 64, "0");

function struct(members) {
  let tail = "";
  const words = members.map((member) => {
    if (typeof member !== "object") return word(member);
    const offset = members.length * 32 + tail.length / 2;
    tail += dynamic(member.bytes);
    return word(offset);
  });
  return `0x${word(32)}${words.join("")}${tail}`;
}

const text = (value) => ({ bytes: hex(utf8(value)) });

export function instance(n, change = {}) {
  const { id = n, appId = APP, version = 1, url = `https://node-${n}.test/`, pubkey = PUBKEY, wallet = walletOf(n), zk = 1, status = 0 } = change;
  return struct([id, appId, version, walletOf(9), text(url), { bytes: pubkey }, wallet, zk, status, 5]);
}

const version = (id, status) => struct([id, text("v"), word(1), text(""), text(""), text(""), text(""), status, 3, walletOf(9)]);

/** A chain with instances 1 to n. */
export function chain(changes, { versions = { 1: 0, 2: 1, 3: 2 }, listed } = {}) {
  const wallets = listed ?? changes.map((_, i) => walletOf(i + 1));
  const results = {
    [encodeCall("kmsAppId()")]: `0x${word(APP)}`,
    [encodeCall("novaAppRegistry()")]: `0x${word(REGISTRY)}`,
    [encodeCall("getActiveInstances(uint256)", APP)]: `0x${word(32)}${word(wallets.length)}${wallets.map(word).join("")}`,
  };
  changes.forEach((change, i) => (results[encodeCall("getInstanceByWallet(address)", walletOf(i + 1))] = instance(i + 1, change)));
  for (const [id, status] of Object.entries(versions)) results[encodeCall("getVersion(uint256,uint256)", APP, BigInt(id))] = version(id, status);
  return results;
}

/** A block, whose time is so many seconds ago. */
export const blockOf = (ageS = 0) => ({ number: "0x10", timestamp: `0x${(Math.floor(Date.now() / 1000) - ageS).toString(16)}` });

/** A fetch for RPC servers: results by call data, or a function that makes the response. */
export function serve(servers, seen = [], block = blockOf()) {
  return async (url, { body }) => {
    const call = JSON.parse(Buffer.from(body).toString());
    seen.push(call);
    const results = servers[url];
    if (typeof results === "function") return results(call);
    const result = call.method === "eth_getBlockByNumber" ? block : results[call.params[0].data];
    return Response.json({ jsonrpc: "2.0", id: call.id, result: result ?? "0x" });
  };
}
