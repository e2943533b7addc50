// Derives a key, and stores and reads a value: node examples/first_key.mjs [URL] [SEED FILE]
import { KmsClient, NotFoundError } from "nova-kms-client";
import { identityFromSeedFile } from "nova-kms-client/node";

const [url = "http://127.0.0.1:8000", seedFile = "../../build/node/demo-app.seed"] = process.argv.slice(2);

const client = new KmsClient({ nodes: url, identity: await identityFromSeedFile(seedFile) });
const key = await client.derive("wallet/root");
console.log(`derived: ${key}`); // its length: never the key
key.wipe();

await client.put("config/db", "postgres://db");
const { value } = await client.get("config/db");
console.log(`stored: ${value.text()}`);
value.wipe();

for await (const name of client.list({ prefix: "config/" })) console.log(`listed: ${name}`);
await client.delete("config/db");
await client.get("config/db").catch((error) => {
  if (!(error instanceof NotFoundError)) throw error;
  console.log("deleted");
});
client.close();
