/* What the tests of merging share: records of peers, and expectations about their merge. */
#ifndef KMS_SPEC_MERGE_KIT_H
#define KMS_SPEC_MERGE_KIT_H

#include "store_kit.h"

/* A record of a peer under construction. */
typedef struct incoming {
	kms_record record;
	kms_clock_entry clock[2 * KMS_STORE_MAX_CLOCK];
	uint8_t value[MIN_VALUE + 4];
} incoming;

/* A live record of key "k" whose ciphertext begins with `first`; no clock yet. */
static inline incoming *live(incoming *in, uint8_t first, uint64_t at_ms)
{
	*in = (incoming){ .value = { first } };
	in->record = (kms_record){ .key = kms_text_from("k"),
				   .value = kms_span_of(in->value, MIN_VALUE),
				   .clock = { in->clock, 0 },
				   .updated_at_ms = at_ms };
	return in;
}

static inline incoming *dead(incoming *in, uint64_t at_ms)
{
	live(in, 0, at_ms);
	in->record.value.bytes = NULL;
	in->record.value.len = 0;
	in->record.state = KMS_RECORD_TOMBSTONE;
	return in;
}

static inline incoming *tick(incoming *in, uint8_t node, uint64_t counter)
{
	in->clock[in->record.clock.len++] = (kms_clock_entry){ { node }, counter };
	return in;
}

static inline kms_status merge(kms_merge *outcome, kms_store *s, const incoming *in)
{
	return kms_store_merge(outcome, s, APP, &in->record, NOW);
}

static inline void expect(int *failed_, kms_store *s, const incoming *in, kms_merge want)
{
	kms_merge outcome = KMS_MERGE_REJECTED;
	CHECK_OK(merge(&outcome, s, in));
	if (outcome != want) fprintf(stderr, "got %s\n", kms_merge_name(outcome));
	CHECK(outcome == want);
}

static inline void expect_rejected(int *failed_, kms_store *s, const incoming *in, kms_status want)
{
	kms_merge outcome = KMS_MERGE_INSERTED;
	CHECK_STATUS(want, merge(&outcome, s, in));
	CHECK(outcome == KMS_MERGE_REJECTED);
}

/* Checks the record of "k": state, first byte (-1: none), stamp, and the counters of nodes 2 and 3. */
static inline void expect_held(int *failed_, kms_store *s, kms_record_state state, int first, uint64_t at_ms,
			       uint64_t b, uint64_t c)
{
	record_copy r;
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.state == state && r.record.updated_at_ms == at_ms);
	CHECK(kit_counter(&r, 2) == b && kit_counter(&r, 3) == c);
	CHECK(kit_get(s, "k", NOW) == first);
}

#endif
