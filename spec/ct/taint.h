/* Marks for valgrind: what is undefined for it is secret for us. */
#ifndef KMS_SPEC_TAINT_H
#define KMS_SPEC_TAINT_H

#include <valgrind/memcheck.h>

#include "../native/material.h"

/* Bytes are secret from here on; or public again, to be looked at by the check itself. */
static inline void hide(void *bytes, size_t len)
{
	(void)VALGRIND_MAKE_MEM_UNDEFINED(bytes, len);
}

static inline void show(const void *bytes, size_t len)
{
	(void)VALGRIND_MAKE_MEM_DEFINED(bytes, len);
}

/* A made-up secret of `len` bytes below 0x80, whose every bit is hidden. */
static inline kms_secret *hidden_secret(size_t len, uint8_t seed)
{
	uint8_t bytes[64];
	kms_secret *secret;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)((seed + 37 * i) & 0x7f);
	MUST(kms_secret_new(&secret, kms_span_of(bytes, len)));
	hide((void *)(uintptr_t)kms_secret_bytes(secret), len);
	return secret;
}

#endif
