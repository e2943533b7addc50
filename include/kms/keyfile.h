/*
 * Seeds and sealed secrets in files: the identities of the simulated TEE backend and of the
 * command line. A seed file holds 64 hex digits and a newline, has mode 0600, and stands for an
 * identity: a wallet and a P-384 key are derived from it.
 * Threads: any.
 */
#ifndef KMS_KEYFILE_H
#define KMS_KEYFILE_H

#include "kms/p384.h"
#include "kms/wallet.h"

/*
 * Reads a seed file.
 * Returns: KMS_OK; ERR_FILE_MISSING; ERR_FILE_MODE (any right of group or others, not a regular
 * file, another owner, a symbolic link); ERR_FILE_FORMAT; ERR_SYSTEM; ERR_LOCKED_MEMORY;
 * ERR_ARGUMENT.
 * Out: seed32 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_seed_load(kms_secret **seed32, const char *path);

/*
 * Makes a new seed and its file: mode 0600, synced.
 * Returns: KMS_OK; ERR_STATE when the path exists (it is not touched); ERR_RANGE when the path is
 * empty or too long; ERR_SYSTEM; ERR_LOCKED_MEMORY; ERR_ARGUMENT.
 * Out: seed32 - as kms_seed_load.
 */
kms_status kms_seed_create(kms_secret **seed32, const char *path);

/*
 * The identity of a seed: HKDF-SHA256(seed, salt "nova-kms:identity", info "wallet" or "p384").
 * Returns: KMS_OK; ERR_RANGE when the seed is not 32 bytes long; as kms_wallet_new, kms_p384_new.
 * Out: wallet, p384 - owned by the caller; NULL on failure.
 */
kms_status kms_seed_identity(kms_wallet **wallet, kms_p384 **p384, const kms_secret *seed32);

/*
 * Writes a secret, sealed under a seed, to a file: mode 0600, replaced atomically, synced. The file
 * holds "nova-kms sealed v1\n", hex of the sealed value (value_seal.h) and a newline; the value's
 * key is HKDF-SHA256(seed, salt "nova-kms:identity", info "seal").
 * Returns: KMS_OK; ERR_RANGE when the secret or the seed is not 32 bytes long, or the path is empty
 * or too long; ERR_SYSTEM; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_ARGUMENT.
 */
kms_status kms_sealfile_save(const char *path, const kms_secret *secret32, const kms_secret *seed32);

/*
 * Reads what kms_sealfile_save wrote.
 * Returns: KMS_OK; ERR_SEALED under another seed; ERR_FILE_MISSING; ERR_FILE_MODE;
 * ERR_FILE_FORMAT; ERR_RANGE; ERR_SYSTEM; ERR_LOCKED_MEMORY; ERR_ARGUMENT.
 * Out: secret32 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_sealfile_load(kms_secret **secret32, const char *path, const kms_secret *seed32);

#endif
