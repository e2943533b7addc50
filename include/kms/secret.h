/*
 * Guarded memory and secret handles.
 *
 * One arena holds every secret of the process: between two inaccessible pages, locked (never
 * swapped), excluded from core dumps, wiped on free. OpenSSL's own allocations are led
 * into it too, because OpenSSL leaves P-384 scalars, HKDF and GCM keys on its heap. A forked
 * child finds the arena empty: it must exec or exit, and not call the core.
 * Everything here is safe to call from any thread.
 */
#ifndef KMS_SECRET_H
#define KMS_SECRET_H

#include "kms/kms.h"

#define KMS_GUARDED_MIN_BYTES (8u << 20)
#define KMS_GUARDED_DEFAULT_BYTES (64u << 20)

/*
 * Keeps the part of the calling thread's stack that deeper calls use out of core dumps and, as
 * far as the memlock limit allows, out of swap: libraries hold keys there while they compute.
 * Once a thread that does work on secrets; again: nothing done.
 */
void kms_stack_guard(void);

/*
 * What the process may lock: RLIMIT_MEMLOCK rounded down to a power of two; where it is
 * unlimited or the process has CAP_IPC_LOCK, KMS_GUARDED_DEFAULT_BYTES.
 */
size_t kms_guarded_grant(void);

/*
 * Creates the arena; before it, nothing may have used OpenSSL. A second call: ERR_STATE.
 * In: bytes - size, rounded down to a power of two, at least KMS_GUARDED_MIN_BYTES,
 * at most 16 GiB (ERR_RANGE).
 * Returns: KMS_OK, ERR_MLOCK when the kernel does not lock it, ERR_STATE, ERR_SYSTEM.
 */
kms_status kms_guarded_init(size_t bytes);

/* Whether kms_guarded_init succeeded; size of the arena and bytes in use (0 before). */
bool kms_guarded_ready(void);
size_t kms_guarded_size(void);
size_t kms_guarded_used(void);

/*
 * Zeroed guarded memory. Requests of 4 KiB and more leave an eighth of the arena to keys and
 * to OpenSSL: they fail first, so that a flood of bodies cannot break cryptography.
 * Returns: memory owned by the caller, or NULL when there is no room (size 0 included).
 */
void *kms_guarded_alloc(size_t size);

/*
 * Wipes and frees; NULL is fine. Any other pointer that is no block of the arena, and a block
 * whose neighbourhood was overrun, end the process (abort).
 */
void kms_guarded_free(void *memory);

/* memset to zero that no optimiser removes. */
void kms_wipe(void *memory, size_t size);

/* Equality in time that depends on `len` only. */
bool kms_equal_ct(const void *a, const void *b, size_t len);

/* A secret of fixed length in guarded memory, counted by references. */
typedef struct kms_secret kms_secret;

/*
 * Copies `len` bytes (1 to 64) into a new secret; the caller still wipes its own copy.
 * Out: secret - one reference, released with kms_secret_unref.
 * Returns: KMS_OK, ERR_RANGE, ERR_LOCKED_MEMORY.
 */
kms_status kms_secret_new(kms_secret **secret, const uint8_t *bytes, size_t len);

/* A secret of `len` bytes (1 to 64) from the kernel's generator. */
kms_status kms_secret_random(kms_secret **secret, size_t len);

/*
 * A secret from hexadecimal text (any case, 0x allowed), decoded without branches or table
 * indices that depend on the digits. The text must be exactly 2 * `len` digits (ERR_HEX).
 */
kms_status kms_secret_from_hex(kms_secret **secret, const char *text, size_t text_len, size_t len);

/* Another reference to the same secret; returns its argument. */
kms_secret *kms_secret_ref(kms_secret *secret);
/* Drops a reference; the last one wipes. NULL is fine. */
void kms_secret_unref(kms_secret *secret);

size_t kms_secret_len(const kms_secret *secret);
/* Borrowed bytes, for the core only; valid while the reference is held. */
const uint8_t *kms_secret_bytes(const kms_secret *secret);
/* Constant-time equality (lengths are public). */
bool kms_secret_equal(const kms_secret *a, const kms_secret *b);
/* keccak-256 of a secret: what KMSRegistry publishes as masterSecretHash. */
void kms_secret_keccak256(uint8_t digest32[32], const kms_secret *secret);

#endif
