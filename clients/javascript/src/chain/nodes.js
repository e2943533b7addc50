/** The nodes of a cluster, as the chain lists them (docs/protocol.md sections 5 and 14). */
import { ArgumentError, ChainError, KmsError } from "../errors.js";
import { baseUrl, duration } from "../http.js";
import { pointOf } from "../p384.js";
import { canonicalWallet } from "../wallet.js";
import { decodeAddress, decodeAddresses, decodeInstance, decodeNumber, decodeVersion, encodeCall } from "./abi.js";
import { isPublicUrl } from "./public_url.js";
import { RpcServer, mapSome } from "./rpc.js";

const MAX_MEMBERS = 1000;
const TIMEOUT_MS = 30_000; // of a reading as a whole
const HEAD_AGE_MS = 300_000; // of the newest block: a server that stands still shows nodes that are none any more
const AHEAD_MS = 60_000; // of this machine's clock
const CONFIRMATIONS = 6; // blocks behind the newest one, as nodes read it
const MAX_CONFIRMATIONS = 10_000;
const ACTIVE = 0; // status of an instance
const USABLE = new Set([0, 1]); // statuses of a version: ENROLLED, DEPRECATED

const OPTIONS = ["rpcUrl", "kmsRegistry", "registry", "kmsAppId", "timeoutMs", "maxHeadAgeMs", "confirmations", "allowPrivate", "signal", "fetch"];

function address(text, name) {
  const canonical = canonicalWallet(text);
  if (canonical) return canonical;
  throw new ArgumentError(`${name} must be a contract's address`, { code: "ERR_ADDRESS" });
}

function appIdOf(value) {
  if (/^[1-9][0-9]{0,19}$/.test(String(value)) && BigInt(value) < 2n ** 64n) return BigInt(value);
  throw new ArgumentError("kmsAppId must be an integer above 0 of 64 bits");
}

function confirmationsOf(value = CONFIRMATIONS) {
  if (Number.isInteger(value) && value >= 0 && value <= MAX_CONFIRMATIONS) return BigInt(value);
  throw new ArgumentError(`confirmations must be a whole number from 0 to ${MAX_CONFIRMATIONS}`);
}

function settingsOf(options) {
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) throw new ArgumentError(`${unknown} is no option of the chain; there are: ${OPTIONS.join(", ")}`);
  const { kmsRegistry, registry, kmsAppId } = options;
  if (kmsRegistry === undefined && (registry === undefined || kmsAppId === undefined)) {
    throw new ArgumentError("give kmsRegistry, or registry and kmsAppId");
  }
  return {
    kms: kmsRegistry === undefined ? undefined : address(kmsRegistry, "kmsRegistry"),
    registry: registry === undefined ? undefined : address(registry, "registry"),
    appId: kmsAppId === undefined ? undefined : appIdOf(kmsAppId),
    allowPrivate: options.allowPrivate === true,
    timeoutMs: duration(options, "timeoutMs", TIMEOUT_MS, 1),
    maxHeadAgeMs: duration(options, "maxHeadAgeMs", HEAD_AGE_MS, 1),
    confirmations: confirmationsOf(options.confirmations),
  };
}

const isQuantity = (text) => typeof text === "string" && /^0x[0-9a-f]{1,16}$/i.test(text);

/** The block to read at: so many behind the newest one, which is of now. */
async function readPlace(server, { maxHeadAgeMs, confirmations }) {
  const head = await server.call("eth_getBlockByNumber", "latest", false);
  if (!isQuantity(head?.number) || !isQuantity(head.timestamp)) throw server.fail("the newest block has no number or timestamp");
  const ageMs = Date.now() - Number(head.timestamp) * 1000;
  const seconds = (ms) => Math.round(ms / 1000);
  if (ageMs > maxHeadAgeMs) throw server.fail(`the newest block is ${seconds(ageMs)} s old: at most ${seconds(maxHeadAgeMs)} s are allowed`);
  if (-ageMs > AHEAD_MS) throw server.fail(`the newest block is stamped ${seconds(-ageMs)} s ahead of this machine's clock`);
  const number = BigInt(head.number);
  return `0x${(number > confirmations ? number - confirmations : 0n).toString(16)}`;
}

/** The node of an instance that is a member; undefined where it is none, or has no URL to call. */
function nodeOf(wallet, instance, appId, allowPrivate) {
  const isMember = instance.id !== 0n && instance.wallet === wallet && instance.appId === appId && instance.status === ACTIVE;
  if (!isMember || !instance.zkVerified || !pointOf(instance.teePubkey)) return undefined;
  try {
    const url = baseUrl(instance.url, "the node's url");
    if (!allowPrivate && !isPublicUrl(url)) return undefined;
    return { url, wallet, teePubkey: instance.teePubkey, versionId: instance.versionId };
  } catch {
    return undefined;
  }
}

/** The cluster's application and registry: those given, which must be those that KMSRegistry names. */
async function readCluster(server, settings, read) {
  if (!settings.kms) return settings;
  const appId = await read(settings.kms, decodeNumber, "kmsAppId()");
  const registry = await read(settings.kms, decodeAddress, "novaAppRegistry()");
  if ((settings.appId ?? appId) !== appId) throw server.fail("kmsRegistry names another kmsAppId");
  if ((settings.registry ?? registry) !== registry) throw server.fail("kmsRegistry names another registry");
  return { appId, registry };
}

async function readMembers(server, settings) {
  const block = await readPlace(server, settings);
  const read = (contract, decode, ...call) => server.read(contract, encodeCall(...call), decode, block);
  const { appId, registry } = await readCluster(server, settings, read);
  const wallets = [...new Set(await read(registry, decodeAddresses, "getActiveInstances(uint256)", appId))];
  if (wallets.length > MAX_MEMBERS) throw server.fail(`more than ${MAX_MEMBERS} active instances`);
  const nodes = await mapSome(wallets, async (wallet) =>
    nodeOf(wallet, await read(registry, decodeInstance, "getInstanceByWallet(address)", wallet), appId, settings.allowPrivate));
  const listed = nodes.filter((node) => node !== undefined);
  const usable = new Map();
  await mapSome([...new Set(listed.map((node) => node.versionId))], async (id) => {
    const version = await read(registry, decodeVersion, "getVersion(uint256,uint256)", appId, id);
    usable.set(id, version.id === id && USABLE.has(version.status));
  });
  return listed.filter((node) => usable.get(node.versionId)).map(({ url, wallet, teePubkey }) => ({ url, wallet, teePubkey }));
}

const fingerprint = (nodes) => JSON.stringify(nodes.map(({ url, wallet, teePubkey }) => [url, wallet, [...teePubkey]]));

/** What the only server shows, or two of several as soon as they show the same. @throws {ChainError} */
async function agreement(readings) {
  const ends = new Map(readings.map((reading, i) => [i, reading.then((value) => ({ i, value }), (reason) => ({ i, reason }))]));
  const seen = new Set();
  const failures = [];
  while (ends.size) {
    const { i, value, reason } = await Promise.race(ends.values());
    ends.delete(i);
    if (reason !== undefined) {
      if (!(reason instanceof KmsError) || reason.code === "ERR_ABORTED") throw reason;
      failures.push(reason.message);
      continue;
    }
    const print = fingerprint(value);
    if (readings.length === 1 || seen.has(print)) {
      if (value.length === 0) throw new ChainError("the chain lists no node that can be called");
      return value;
    }
    seen.add(print);
  }
  if (seen.size > 1) failures.push("the RPC servers disagree");
  if (seen.size === 1) failures.push("only one RPC server answered");
  throw new ChainError(failures.join("; "));
}

/**
 * Reads the nodes of a cluster: active, zkVerified instances on an enrolled or deprecated version, with a valid teePubkey and a URL
 * (https, and at no private address). With several RPC URLs, two servers must show the same; a slow one is not waited for.
 * @param {{ rpcUrl: string | string[], kmsRegistry?: string, registry?: string, kmsAppId?: bigint | number | string, timeoutMs?: number,
 *   maxHeadAgeMs?: number, confirmations?: number, allowPrivate?: boolean, signal?: AbortSignal, fetch?: typeof fetch }} options
 *   kmsRegistry names registry and kmsAppId
 * @returns {Promise<{ url: string, wallet: string, teePubkey: Uint8Array }[]>} in the registry's order, never empty
 * @throws {ChainError}
 */
export async function nodesFromChain(options) {
  const settings = settingsOf(options);
  const { rpcUrl, signal, fetch = globalThis.fetch } = options;
  const urls = Array.isArray(rpcUrl) ? rpcUrl : [rpcUrl];
  if (urls.length === 0) throw new ArgumentError("rpcUrl is empty");
  const controller = new AbortController();
  const stop = () => controller.abort(signal?.reason);
  if (signal?.aborted) stop();
  const each = { fetch: (...request) => fetch(...request), timeoutMs: settings.timeoutMs, signal: controller.signal };
  const servers = urls.map((url) => new RpcServer(url, each));
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await agreement(servers.map((server) => readMembers(server, settings)));
  } finally {
    signal?.removeEventListener("abort", stop);
    controller.abort(); // those that are slower than two
  }
}
