/** Files that belong to this user alone. */
import { constants } from "node:fs";
import { open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { KmsError } from "../errors.js";

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

export const refuse = (path, why, code = "ERR_FILE_MODE") => new KmsError(`${path}: ${why}`, { code });

/**
 * Reads a small file of this user's.
 * @param {string} path
 * @param {{ maxBytes: number, forbidden?: number }} options forbidden: mode bits that the file must not have
 * @returns {Promise<Buffer | null>} null: there is none
 */
export async function readPrivate(path, { maxBytes, forbidden = OTHERS_WRITE }) {
  let file;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw refuse(path, error.code ?? "cannot be opened", "ERR_FILE_MISSING");
  }
  try {
    const info = await file.stat();
    if (!info.isFile()) throw refuse(path, "is not a file");
    if (process.getuid && info.uid !== process.getuid()) throw refuse(path, "belongs to another user");
    if (process.getuid && info.mode & forbidden) throw refuse(path, `has mode ${(info.mode & 0o777).toString(8)}: other users must not have it`);
    if (info.size > maxBytes) throw refuse(path, `has more than ${maxBytes} bytes`, "ERR_FILE_FORMAT");
    const content = Buffer.alloc(info.size);
    const { bytesRead } = await file.read(content, 0, info.size, 0);
    return content.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Others who may rename and remove what is in the folder could take the file away. */
export async function checkFolder(path) {
  if (!process.getuid) return;
  const info = await stat(dirname(path)).catch(() => null);
  if (!info) return; // there is none yet
  if (info.uid !== process.getuid() && info.uid !== 0) throw refuse(path, "is in a folder of another user");
  if (info.mode & OTHERS_WRITE && !(info.mode & STICKY)) throw refuse(path, "is in a folder that other users can write");
}
