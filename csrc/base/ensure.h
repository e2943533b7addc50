/*
 * Control flow of the core. ENSURE at the top of a function, GUARD in the middle, DEFER for
 * what the function owns; the happy path runs straight down.
 */
#ifndef KMS_BASE_ENSURE_H
#define KMS_BASE_ENSURE_H

#include "kms/kms.h"

/* Returns `status` unless `cond` holds. */
#define ENSURE(cond, status)                  \
	do {                                  \
		if (!(cond)) return (status); \
	} while (0)

/* Returns the failure of `call`, if it is one. */
#define GUARD(call)                                                \
	do {                                                       \
		kms_status guard_status_ = (call);                 \
		if (guard_status_ != KMS_OK) return guard_status_; \
	} while (0)

/* Ensures that a pointer argument is not NULL. */
#define ENSURE_REF(ptr) ENSURE((ptr) != NULL, KMS_ERR_ARGUMENT)

/*
 * Declares an owner, which is released at the end of its scope:
 * DEFER(kms_secret_release) kms_secret *key = NULL. Assign NULL to hand the object over.
 * In: fn - takes a pointer to the variable; KMS_DEFINE_RELEASE (kms/kms.h) makes such functions.
 */
#define DEFER(fn) __attribute__((cleanup(fn)))

#define KMS_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* Checked arithmetic: false (and no result to rely on) when it would wrap. */
#define KMS_ADD(out, a, b) (!__builtin_add_overflow((a), (b), (out)))
#define KMS_MUL(out, a, b) (!__builtin_mul_overflow((a), (b), (out)))

#endif
