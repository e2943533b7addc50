/** Seed files: 64 hexadecimal digits and a newline, for this user alone. */
import { unhex } from "../bytes.js";
import { Identity } from "../identity.js";
import { readPrivate, refuse } from "./private_file.js";

const TEXT = 65; // bytes

/** The identity of a seed file, such as a node's demo-app.seed. @param {string} path @returns {Promise<Identity>} */
export async function identityFromSeedFile(path) {
  const content = await readPrivate(path, { maxBytes: TEXT, forbidden: 0o077 });
  if (!content) throw refuse(path, "does not exist", "ERR_FILE_MISSING");
  const seed = content.length === TEXT && content[TEXT - 1] === 0x0a ? unhex(content.toString("latin1", 0, TEXT - 1), 32) : null;
  content.fill(0);
  if (!seed) throw refuse(path, "is not a seed: 64 hexadecimal digits and a newline", "ERR_FILE_FORMAT");
  try {
    return await Identity.fromSeed(seed);
  } finally {
    seed.fill(0);
  }
}
