/** The known answers of the repository. */
import { readFileSync } from "node:fs";
import { unhex } from "../../src/bytes.js";

export const vectors = (name) => JSON.parse(readFileSync(new URL(`../../../../spec/vectors/${name}.json`, import.meta.url), "utf8"));

export const bytes = (text) => {
  const value = unhex(text);
  if (!value) throw new Error(`not hex: ${text}`);
  return value;
};
