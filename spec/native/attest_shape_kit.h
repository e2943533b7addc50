/* What the tests of a document's format share: one document, and fields changed in it. */
#ifndef KMS_SPEC_ATTEST_SHAPE_KIT_H
#define KMS_SPEC_ATTEST_SHAPE_KIT_H

#include "attest_kit.h"

static doc d;
static kms_attest_policy policy;

static inline void fresh(void)
{
	honest(&d, 2);
	policy = lenient(&d);
}

/* A field with that value is refused as malformed; afterwards the document is honest again. */
#define REFUSED(field, ...)                   \
	do {                                  \
		bytes kept = d.values[field]; \
		VALUE(field, __VA_ARGS__);    \
		EXPECT(&d, &policy, SHAPE);   \
		d.values[field] = kept;       \
	} while (0)

/* A field with that value passes. */
#define ACCEPTED(field, ...)                  \
	do {                                  \
		bytes kept = d.values[field]; \
		VALUE(field, __VA_ARGS__);    \
		EXPECT(&d, &policy, NONE);    \
		d.values[field] = kept;       \
	} while (0)

static inline void pcr(bytes *out, unsigned index, size_t len)
{
	put_head(out, 0, index);
	put_filled(out, 2, (uint8_t)(index + 1), len);
}

#endif
