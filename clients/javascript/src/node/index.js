/** What only Node.js can do: files of the command line's. */
export { identityFromSeedFile } from "./seed_file.js";
export { KnownNodesFile, defaultKnownNodesPath } from "./known_nodes_file.js";
