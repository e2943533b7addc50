/*
 * Guarded memory, random bytes and handles of secrets.
 *
 * One arena holds every secret of the process: between two inaccessible pages, locked (never
 * swapped), excluded from core dumps, wiped on free. OpenSSL allocates from it too, because
 * OpenSSL leaves P-384 scalars, HKDF and GCM keys on its heap. A forked child finds the arena
 * empty: it must exec or exit, and not call the core.
 * Threads: any.
 */
#ifndef KMS_SECRET_H
#define KMS_SECRET_H

#include "kms/view.h"

#define KMS_GUARDED_MIN_BYTES (8u << 20)
#define KMS_GUARDED_DEFAULT_BYTES (64u << 20)
#define KMS_SECRET_MAX 64

/* ---- guarded memory ---- */

/*
 * The bytes that the process may lock: RLIMIT_MEMLOCK rounded down to a power of two, or
 * KMS_GUARDED_DEFAULT_BYTES where it is unlimited or the process has CAP_IPC_LOCK.
 */
size_t kms_guarded_grant(void);

/*
 * Creates the arena, once per process and before anything uses OpenSSL.
 * Returns: KMS_OK; ERR_RANGE; ERR_MLOCK when the kernel does not lock it; ERR_STATE when the arena
 * exists or OpenSSL was used already; ERR_SYSTEM; ERR_LOCKED_MEMORY.
 * In: bytes - KMS_GUARDED_MIN_BYTES to 16 GiB, rounded down to a power of two.
 */
kms_status kms_guarded_init(size_t bytes);

/* Whether the arena exists, its size and the bytes in use; false and 0 before kms_guarded_init. */
bool kms_guarded_ready(void);
size_t kms_guarded_size(void);
size_t kms_guarded_used(void);

/*
 * Zeroed guarded memory. Requests of 4 KiB and more leave an eighth of the arena to keys and to
 * OpenSSL, so that a flood of bodies cannot break cryptography.
 * Returns: memory owned by the caller, free with kms_guarded_free; NULL when there is no room
 * or `size` is 0.
 */
void *kms_guarded_alloc(size_t size);

/*
 * Wipes and frees; NULL is fine. A pointer that is not a block of the arena, or a block whose
 * surroundings were overwritten, ends the process (abort).
 */
void kms_guarded_free(void *memory);
KMS_DEFINE_RELEASE(kms_guarded_release, uint8_t, kms_guarded_free)

/*
 * Keeps the part of the calling thread's stack that deeper calls use out of core dumps and, as
 * far as the memlock limit allows, out of swap: libraries hold keys there while they compute. Once
 * per thread that works on secrets; later calls do nothing.
 */
void kms_stack_guard(void);

/* Sets memory to zero; no optimiser removes it. NULL is fine. */
void kms_wipe(void *memory, size_t size);

/* Whether `len` bytes are equal, in time that depends on `len` only. */
bool kms_equal_ct(const void *a, const void *b, size_t len);

/*
 * Random bytes from the kernel (getrandom).
 * Returns: KMS_OK; ERR_SYSTEM; ERR_ARGUMENT.
 */
kms_status kms_random(kms_out bytes);

/* ---- secrets ---- */

/* A secret of 1 to KMS_SECRET_MAX bytes in guarded memory, counted by references. */
typedef struct kms_secret kms_secret;

/*
 * Copies bytes into a new secret; the caller still wipes its own copy.
 * Returns: KMS_OK; ERR_RANGE when the length is not 1 to KMS_SECRET_MAX; ERR_LOCKED_MEMORY; ERR_ARGUMENT.
 * Out: secret - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_secret_new(kms_secret **secret, kms_span bytes);

/*
 * A secret of `len` random bytes.
 * Returns, Out: as kms_secret_new; ERR_SYSTEM.
 */
kms_status kms_secret_random(kms_secret **secret, size_t len);

/* Another reference to the same secret; returns its argument. NULL is fine. */
kms_secret *kms_secret_ref(kms_secret *secret);
/* Drops a reference; the last one wipes. NULL is fine. */
void kms_secret_unref(kms_secret *secret);
KMS_DEFINE_RELEASE(kms_secret_release, kms_secret, kms_secret_unref)

size_t kms_secret_len(const kms_secret *secret);
/* Its bytes: borrowed, valid while the reference is held, for the core only. */
const uint8_t *kms_secret_bytes(const kms_secret *secret);

static inline kms_span kms_secret_span(const kms_secret *secret)
{
	return kms_span_of(kms_secret_bytes(secret), kms_secret_len(secret));
}

/* Whether two secrets are equal, in constant time; their lengths are public. */
bool kms_secret_equal(const kms_secret *a, const kms_secret *b);

#endif
