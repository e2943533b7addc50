// Package novakms is a client of Nova KMS: keys and records for an application, from one node or several.
//
//	identity, err := novakms.IdentityFromFile("app.seed")
//	...
//	kms, err := novakms.NewClient(novakms.Config{Identity: identity, Nodes: novakms.URLs("http://127.0.0.1:8000")})
//	...
//	defer kms.Close()
//	key, err := kms.Derive(ctx, "wallet/eth")
//	...
//	defer key.Wipe()
//
// Every answer is verified: it must be sealed by that node for this very request. A node whose Wallet and Pubkey are pinned, as those
// that a [Chain] names are, is believed to be nobody else. Version 1 of the protocol, whose messages can be read later by who gets keys then, is
// spoken only with nodes that prove that they have no sessions (docs/protocol.md section 15.5).
//
// # Errors
//
// Every error of a call is an [*Error] of a [Kind]:
//
//	record, err := kms.Get(ctx, "greeting")
//	if errors.Is(err, novakms.ErrNotFound) {
//
// After [ErrOutcomeUnknown] a put or delete may have been done or not: read before you write again.
//
// # Concurrency
//
// Any number of goroutines may use a [Client], [Identity], [Chain] and [KnownNodes] at once. A [Secret] may be read by many, and wiped when none reads it.
//
// # Secrets
//
// No error, and nothing that fmt or log/slog prints of a type of this package, has a key, a value or the name of one. A [Secret] is wiped by Wipe; the
// messages that keys and values come and go in are wiped after use. What Go does not let this package wipe stays in memory until Go uses
// it for something else: session keys (crypto/aes), the P-384 key and ephemeral keys (crypto/ecdh), names (strings).
package novakms
