/** The JavaScript client of nova-kms; types/index.d.ts describes all of it. */
export { KmsClient } from "./client.js";
export { nodesFromChain } from "./chain/nodes.js";
export {
  AbortedError, ArgumentError, ChainError, KmsError, NotFoundError, OutcomeUnknownError, RefusedError, SessionError, UnavailableError,
  UnverifiedError,
} from "./errors.js";
export { Identity } from "./identity.js";
export { KnownNodes } from "./known_nodes.js";
export { SecretBytes } from "./secret.js";
