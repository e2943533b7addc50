/* Questions and answers about hash trees: reading and writing their parts. */
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "sync/sync_digest.h"

/* ---- reading: whatever is malformed is ERR_RECORD ---- */

static kms_status take(const uint8_t **bytes, kms_reader *reader, size_t len)
{
	return kms_reader_take(bytes, reader, len) == KMS_OK ? KMS_OK : KMS_ERR_RECORD;
}

kms_status kms_digest_read_number(uint32_t *number, kms_reader *reader, size_t bytes)
{
	const uint8_t *at;
	*number = 0;
	GUARD(take(&at, reader, bytes));
	for (size_t i = 0; i < bytes; i++)
		*number = *number << 8 | at[i];
	return KMS_OK;
}

kms_status kms_digest_read_head(digest_kind *kind, uint8_t key_id8[KMS_TREE_KEY_ID], kms_reader *reader)
{
	uint32_t version, number;
	const uint8_t *at;
	GUARD(kms_digest_read_number(&version, reader, 1));
	GUARD(kms_digest_read_number(&number, reader, 1));
	ENSURE(version == DIGEST_VERSION && number >= DIGEST_ROOT && number <= DIGEST_OTHER_KEY,
	       KMS_ERR_RECORD);
	GUARD(take(&at, reader, KMS_TREE_KEY_ID));
	memcpy(key_id8, at, KMS_TREE_KEY_ID);
	*kind = (digest_kind)number;
	return KMS_OK;
}

kms_status kms_digest_read_root(uint32_t *first_hour, kms_tree_root *root, kms_reader *reader)
{
	const uint8_t *at;
	GUARD(kms_digest_read_number(first_hour, reader, 4));
	ENSURE(*first_hour > 0, KMS_ERR_RECORD);
	GUARD(take(&at, reader, 2 * KMS_TREE_DIGEST));
	memcpy(root->lasting, at, KMS_TREE_DIGEST);
	memcpy(root->ending, at + KMS_TREE_DIGEST, KMS_TREE_DIGEST);
	return KMS_OK;
}

kms_status kms_digest_read_salt(kms_siphash_key *salt, kms_reader *reader)
{
	const uint8_t *at;
	GUARD(take(&at, reader, DIGEST_SALT));
	*salt = (kms_siphash_key){ kms_load64_le(at), kms_load64_le(at + 8) };
	return KMS_OK;
}

static kms_status read_range(kms_tree_range *range, kms_reader *reader)
{
	uint32_t depth;
	const uint8_t *at;
	GUARD(kms_digest_read_number(&range->hour, reader, 4));
	GUARD(kms_digest_read_number(&depth, reader, 1));
	ENSURE(depth <= KMS_TREE_DEPTH && depth % KMS_TREE_STEP == 0, KMS_ERR_RECORD);
	range->depth = (uint8_t)depth;
	range->place = 0;
	GUARD(take(&at, reader, (depth + 7) / 8));
	for (size_t i = 0; i < (depth + 7) / 8; i++)
		range->place |= (uint64_t)at[i] << (56 - 8 * i);
	ENSURE(depth == KMS_TREE_DEPTH || range->place << depth == 0, KMS_ERR_RECORD);
	return KMS_OK;
}

static kms_status read_some(digest_short *shorts, kms_reader *reader, size_t count)
{
	const uint8_t *at;
	GUARD(take(&at, reader, count * DIGEST_SHORT));
	if (count) memcpy(shorts, at, count * DIGEST_SHORT);
	return KMS_OK;
}

kms_status kms_digest_read_shorts(digest_short *shorts, size_t *count, kms_reader *reader)
{
	uint32_t number;
	GUARD(kms_digest_read_number(&number, reader, 1));
	ENSURE(number <= KMS_TREE_BUCKET, KMS_ERR_RECORD);
	*count = number;
	return read_some(shorts, reader, number);
}

kms_status kms_digest_read_sum(digest_short sum, size_t *count, kms_reader *reader)
{
	uint32_t number;
	GUARD(kms_digest_read_number(&number, reader, 1));
	ENSURE(number <= KMS_TREE_BUCKET, KMS_ERR_RECORD);
	*count = number;
	return read_some((digest_short *)sum, reader, 1);
}

/* Hours are in order, and within the bounds that the item gives. */
static kms_status read_hours(digest_item *item, kms_reader *reader)
{
	uint32_t count, last = 0;
	GUARD(kms_digest_read_number(&item->from, reader, 4));
	GUARD(kms_digest_read_number(&item->to, reader, 4));
	GUARD(kms_digest_read_number(&count, reader, 2));
	ENSURE(item->from > 0 && item->from <= item->to && count <= DIGEST_HOURS, KMS_ERR_RECORD);
	GUARD(take(&item->hours, reader, count * (4 + DIGEST_SHORT)));
	item->count = count;
	for (size_t i = 0; i < count; i++) {
		uint32_t hour = kms_load32_be(item->hours + i * (4 + DIGEST_SHORT));
		ENSURE(hour > last && hour >= item->from && hour <= item->to, KMS_ERR_RECORD);
		last = hour;
	}
	return KMS_OK;
}

static kms_status read_brief(digest_item *item, kms_reader *reader)
{
	const uint8_t *at;
	item->count = KMS_TREE_CHILDREN;
	GUARD(take(&at, reader, KMS_TREE_CHILDREN * DIGEST_BRIEF_SHORT));
	for (size_t i = 0; i < KMS_TREE_CHILDREN; i++)
		memcpy(item->shorts[i], at + i * DIGEST_BRIEF_SHORT, DIGEST_BRIEF_SHORT);
	return KMS_OK;
}

kms_status kms_digest_read_item(digest_item *item, kms_reader *reader)
{
	uint32_t form;
	GUARD(kms_digest_read_number(&form, reader, 1));
	item->form = (digest_form)form;
	switch (form) {
	case DIGEST_CHILDREN:
		item->count = KMS_TREE_CHILDREN;
		GUARD(read_range(&item->range, reader));
		return read_some(item->shorts, reader, KMS_TREE_CHILDREN);
	case DIGEST_BRIEF:
		GUARD(read_range(&item->range, reader));
		return read_brief(item, reader);
	case DIGEST_LEAVES:
		GUARD(read_range(&item->range, reader));
		return kms_digest_read_shorts(item->shorts, &item->count, reader);
	case DIGEST_SUM:
		GUARD(read_range(&item->range, reader));
		return kms_digest_read_sum(item->shorts[0], &item->count, reader);
	case DIGEST_HOURS_FORM:
		return read_hours(item, reader);
	default:
		return KMS_ERR_RECORD;
	}
}

/* ---- writing ---- */

kms_status kms_digest_write_number(kms_buf *out, uint32_t number, size_t bytes)
{
	uint8_t text[4];
	kms_store32_be(text, number);
	return kms_buf_append(out, kms_span_of(text + sizeof(text) - bytes, bytes));
}

kms_status kms_digest_write_head(kms_buf *out, digest_kind kind, const uint8_t key_id8[KMS_TREE_KEY_ID])
{
	GUARD(kms_digest_write_number(out, DIGEST_VERSION, 1));
	GUARD(kms_digest_write_number(out, kind, 1));
	return kms_buf_append(out, kms_span_of(key_id8, KMS_TREE_KEY_ID));
}

kms_status kms_digest_write_root(kms_buf *out, uint32_t first_hour, const kms_tree_root *root)
{
	GUARD(kms_digest_write_number(out, first_hour, 4));
	GUARD(kms_buf_append(out, KMS_SPAN(root->lasting)));
	return kms_buf_append(out, KMS_SPAN(root->ending));
}

kms_status kms_digest_write_range(kms_buf *out, digest_form form, const kms_tree_range *range)
{
	uint8_t place[8];
	kms_store64_be(place, range->place);
	GUARD(kms_digest_write_number(out, form, 1));
	GUARD(kms_digest_write_number(out, range->hour, 4));
	GUARD(kms_digest_write_number(out, range->depth, 1));
	return kms_buf_append(out, kms_span_of(place, (range->depth + 7u) / 8));
}

kms_status kms_digest_write_shorts(kms_buf *out, const digest_short *shorts, size_t count)
{
	GUARD(kms_digest_write_number(out, (uint32_t)count, 1));
	return kms_buf_append(out, kms_span_of(count ? shorts : NULL, count * DIGEST_SHORT));
}

kms_status kms_digest_write_brief(kms_buf *out, const digest_short *shorts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		GUARD(kms_buf_append(out, kms_span_of(shorts[i], DIGEST_BRIEF_SHORT)));
	return KMS_OK;
}

kms_status kms_digest_write_sum(kms_buf *out, const digest_short *shorts, size_t count)
{
	digest_short sum = { 0 };
	kms_digest_sum(sum, shorts, count);
	GUARD(kms_digest_write_number(out, (uint32_t)count, 1));
	return kms_buf_append(out, KMS_SPAN(sum));
}

/* ---- lists of shorts ---- */

void kms_digest_sum(digest_short sum, const digest_short *shorts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < DIGEST_SHORT; j++)
			sum[j] ^= shorts[i][j];
	}
}

bool kms_digest_has_short(const digest_short *shorts, size_t count, const digest_short wanted)
{
	for (size_t i = 0; i < count; i++) {
		if (memcmp(shorts[i], wanted, DIGEST_SHORT) == 0) return true;
	}
	return false;
}

void kms_digest_compare(uint32_t *only_own, digest_short *only_other, size_t *others, const digest_short *own,
			size_t own_count, const digest_short *other, size_t other_count)
{
	*only_own = 0;
	*others = 0;
	for (size_t i = 0; i < own_count; i++)
		*only_own |= (uint32_t)!kms_digest_has_short(other, other_count, own[i]) << i;
	for (size_t i = 0; i < other_count; i++) {
		if (!kms_digest_has_short(own, own_count, other[i]))
			memcpy(only_other[(*others)++], other[i], DIGEST_SHORT);
	}
}

void kms_digest_shorten(digest_short made, const kms_siphash_key *salt, const uint8_t digest[KMS_TREE_DIGEST])
{
	static const uint8_t none[KMS_TREE_DIGEST];
	uint8_t hash[8] = { 0 };
	if (memcmp(digest, none, KMS_TREE_DIGEST) != 0)
		kms_store64_le(hash, kms_siphash(salt, kms_span_of(digest, KMS_TREE_DIGEST)));
	memcpy(made, hash, DIGEST_SHORT);
}
