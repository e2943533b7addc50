/* Key material for tests from hexadecimal text. Bad text is a broken test: it ends the program. */
#ifndef KMS_SPEC_MATERIAL_H
#define KMS_SPEC_MATERIAL_H

#include "base/testing.h"
#include "kms/codec.h"
#include "kms/p384.h"
#include "test.h"

#define MUST(call)                                                                    \
	do {                                                                          \
		kms_status must_ = (call);                                            \
		if (must_ != KMS_OK) {                                                \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, \
				kms_status_name(must_));                              \
			exit(2);                                                      \
		}                                                                     \
	} while (0)

/*
 * Ends an attempt whose n-th allocation was to fail, and says whether it was reached at all: an
 * attempt may succeed without one (a buffer that cannot double takes what it needs), so only
 * an unreached one ends a sweep.
 */
static inline bool sweep_ends(unsigned long n)
{
	bool unreached = kms_mem_allocations() < n;
	kms_mem_fail_after(0);
	return unreached;
}

/* Exactly `len` bytes. */
static inline void hex_bytes(uint8_t *bytes, size_t len, const char *hex)
{
	MUST(kms_hex_decode(kms_out_of(bytes, len), kms_text_from(hex)));
}

/* A secret as long as its text. */
static inline kms_secret *hex_secret(const char *hex)
{
	kms_secret *secret;
	MUST(kms_secret_from_hex(&secret, kms_text_from(hex), strlen(hex) / 2));
	return secret;
}

/* A P-384 key from a scalar of any length up to 48 bytes, a leading 00 more allowed. */
static inline kms_p384 *hex_p384(const char *hex)
{
	char padded[97];
	kms_p384 *key;
	size_t len = strlen(hex);
	if (len == 98) hex += 2, len -= 2;
	memset(padded, '0', 96);
	memcpy(padded + 96 - len, hex, len);
	padded[96] = '\0';
	kms_secret *scalar = hex_secret(padded);
	MUST(kms_p384_new(&key, scalar));
	kms_secret_unref(scalar);
	return key;
}

#endif
