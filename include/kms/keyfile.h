/*
 * Seeds and sealed secrets in files: what the simulated TEE backend and the command line's
 * identities are made from. A seed file holds 64 hex digits and a newline, mode 0600, and
 * is an identity: a wallet and a P-384 key are derived from it.
 */
#ifndef KMS_KEYFILE_H
#define KMS_KEYFILE_H

#include "kms/p384.h"
#include "kms/wallet.h"

/*
 * Reads a seed file into guarded memory.
 * Returns: KMS_OK, ERR_FILE_MISSING, ERR_FILE_MODE (any right of group or others, not a
 * regular file, or another owner), ERR_FILE_FORMAT, ERR_SYSTEM.
 */
kms_status kms_seed_load(kms_secret **seed32, const char *path);

/* Makes a new seed file, mode 0600, synced; an existing file is never touched (ERR_STATE). */
kms_status kms_seed_create(kms_secret **seed32, const char *path);

/* The identity of a seed: keys by HKDF-SHA256(seed, "nova-kms:identity", "wallet" | "p384"). */
kms_status kms_seed_identity(kms_wallet **wallet, kms_p384 **p384, const kms_secret *seed32);

/*
 * A 32-byte secret sealed under a seed in a file (mode 0600, replaced atomically, synced):
 * "nova-kms sealed v1\n", then hex of a sealed value (value_seal.h) and a newline; the value's key
 * is HKDF-SHA256(seed, "nova-kms:identity", "seal").
 * load: ERR_FILE_MISSING, ERR_FILE_MODE, ERR_FILE_FORMAT, ERR_SEALED under another seed.
 */
kms_status kms_sealfile_save(const char *path, const kms_secret *secret32, const kms_secret *seed32);
kms_status kms_sealfile_load(kms_secret **secret32, const char *path, const kms_secret *seed32);

#endif
