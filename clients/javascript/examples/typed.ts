// What the types make of a program; `npm run types` checks it.
import { Identity, KmsClient, KmsError, OutcomeUnknownError, nodesFromChain } from "nova-kms-client";
import type { CallerIdentity, SecretBytes } from "nova-kms-client";
import { KnownNodesFile, defaultKnownNodesPath } from "nova-kms-client/node";

export async function rotate(rpcUrl: string, kmsRegistry: string, identity: CallerIdentity, signal: AbortSignal): Promise<bigint> {
  const client = new KmsClient({
    identity,
    nodes: await nodesFromChain({ rpcUrl, kmsRegistry, signal }),
    knownNodes: await KnownNodesFile.open(defaultKnownNodesPath() ?? "known-nodes"),
  });
  const key: SecretBytes = await client.derive("wallet/root", { context: "2", length: 64, signal });
  try {
    const [put, get, list] = await client.batch([
      { op: "put", key: "current", value: key, ttlMs: 60_000 },
      { op: "get", key: "current" },
      { op: "list", prefix: "cur" },
    ]);
    if (put.ok) console.log(put.result.updatedAtMs, put.result.copies ?? "not said");
    if (!get.ok) throw get.error;
    if (list.ok) list.result.keys.map((name) => name.toUpperCase());
    for await (const name of client.list({ prefix: "cur", pageSize: 100 })) await client.get(name, { signal });
    return get.result.appId;
  } catch (error) {
    if (error instanceof OutcomeUnknownError) console.error("read it before it is written again");
    else if (error instanceof KmsError) console.error(error.code, error.status, error.retryAfterSeconds);
    throw error;
  } finally {
    key.wipe();
    client.close();
  }
}

export async function wrong(): Promise<void> {
  const identity = await Identity.fromSeed("00".repeat(32));
  const client = new KmsClient({ identity, nodes: ["http://127.0.0.1:8000"] });
  // @ts-expect-error a path is a text
  await client.derive(7);
  // @ts-expect-error there is no such option
  await client.put("k", "v", { ttl: 5 });
  // @ts-expect-error nor such an operation
  await client.batch([{ op: "burn", key: "k" }]);
  // @ts-expect-error a secret is no text
  const text: string = await client.derive("p");
  console.log(text);
}
