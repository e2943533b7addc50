#include "store/store_tie.h"

#include <string.h>

#include "kms/codec.h"

/* What a version says: its ciphertext, or the fingerprint of the one that it lost. A deletion has neither. */
typedef struct content {
	kms_span value;
	kms_fingerprint fingerprint;
} content;

static content content_of_held(const store_record *record)
{
	return (content){ kms_span_of(record->value, record->value_len), record->fingerprint };
}

static content content_of(const kms_record *record)
{
	bool live = record->state == KMS_RECORD_LIVE;
	return (content){ record->value, live ? kms_fingerprint_of(record->value) : record->fingerprint };
}

static bool has_lost_value(const content *c)
{
	return !c->value.bytes && c->fingerprint.len > 0;
}

/*
 * A ciphertext begins with its IV, 96 fresh bits: comparing IVs gives the order of the whole ciphertexts.
 * Equal ones belong to the same write; tag and length decide about what a peer makes up.
 */
static int compare_fingerprints(const kms_fingerprint *a, const kms_fingerprint *b)
{
	if (!a->len || !b->len) return (a->len > 0) - (b->len > 0);
	int order = memcmp(a->iv12, b->iv12, sizeof(a->iv12));
	if (order == 0) order = memcmp(a->tag16, b->tag16, sizeof(a->tag16));
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int compare_contents(const content *a, const content *b)
{
	if (has_lost_value(a) || has_lost_value(b))
		return compare_fingerprints(&a->fingerprint, &b->fingerprint);
	return kms_text_compare(kms_span_text(a->value), kms_span_text(b->value));
}

bool kms_tie_equal(const store_record *held, const kms_record *incoming)
{
	content theirs = content_of(incoming), ours = content_of_held(held);
	return compare_contents(&theirs, &ours) == 0;
}

bool kms_tie_won(const store_record *held, const kms_record *incoming)
{
	if (incoming->updated_at_ms != held->updated_at_ms)
		return incoming->updated_at_ms > held->updated_at_ms;
	content theirs = content_of(incoming), ours = content_of_held(held);
	return compare_contents(&theirs, &ours) > 0;
}
