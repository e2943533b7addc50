/* The parts of questions and answers about hash trees (csrc/sync/sync_digest.h): what is no such part. */
#include "base/ensure.h"
#include "base/testing.h"
#include "sync/sync_digest.h"
#include "test.h"

/* Reads one item from a form, an hour, a depth, as many bytes of the place, a number and shorts of zeros. */
static kms_status read_ranged(digest_form form, unsigned depth, uint8_t place, unsigned number, size_t shorts)
{
	uint8_t bytes[2048] = { (uint8_t)form, 0, 0, 0, 1, (uint8_t)depth };
	digest_item item;
	size_t len = 6 + (depth + 7) / 8;
	memset(bytes + 6, place, len - 6);
	bytes[len++] = (uint8_t)number;
	len += shorts * DIGEST_SHORT;
	kms_reader reader = kms_reader_make(kms_span_of(bytes, len));
	kms_status status = kms_digest_read_item(&item, &reader);
	return status == KMS_OK && kms_reader_left(&reader) > 0 ? KMS_ERR_TRAILING : status;
}

TEST(a_range_has_a_depth_that_ranges_have)
{
	for (unsigned depth = 0; depth <= 255; depth++) {
		bool is_depth = depth <= KMS_TREE_DEPTH && depth % KMS_TREE_STEP == 0;
		CHECK_STATUS(is_depth ? KMS_OK : KMS_ERR_RECORD, read_ranged(DIGEST_LEAVES, depth, 0, 0, 0));
	}
	/* No bits of a place beyond the depth. */
	CHECK_STATUS(KMS_OK, read_ranged(DIGEST_LEAVES, 4, 0xf0, 0, 0));
	CHECK_STATUS(KMS_ERR_RECORD, read_ranged(DIGEST_LEAVES, 4, 0xf8, 0, 0));
	CHECK_STATUS(KMS_OK, read_ranged(DIGEST_LEAVES, KMS_TREE_DEPTH, 0xff, 0, 0));
}

TEST(an_item_has_no_more_leaves_than_a_range)
{
	for (unsigned number = 0; number <= 255; number++) {
		kms_status want = number <= KMS_TREE_BUCKET ? KMS_OK : KMS_ERR_RECORD;
		CHECK_STATUS(want, read_ranged(DIGEST_LEAVES, 0, 0, number, number));
		CHECK_STATUS(want, read_ranged(DIGEST_SUM, 0, 0, number, 1));
	}
	CHECK_STATUS(KMS_ERR_RECORD, read_ranged(DIGEST_LEAVES, 0, 0, 2, 1));
}

/* An item about hours from `from` to `to` that names `count`: first, first + step, ... */
static kms_status read_hours(uint32_t from, uint32_t to, size_t count, uint32_t first, uint32_t step)
{
	digest_item item;
	DEFER(kms_buf_free) kms_buf bytes = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	const digest_short none = { 0 };
	GUARD(kms_digest_write_number(&bytes, DIGEST_HOURS_FORM, 1));
	GUARD(kms_digest_write_number(&bytes, from, 4));
	GUARD(kms_digest_write_number(&bytes, to, 4));
	GUARD(kms_digest_write_number(&bytes, (uint32_t)count, 2));
	for (size_t i = 0; i < count; i++) {
		GUARD(kms_digest_write_number(&bytes, first + (uint32_t)i * step, 4));
		GUARD(kms_buf_append(&bytes, KMS_SPAN(none)));
	}
	kms_reader reader = kms_reader_make(kms_buf_span(&bytes));
	return kms_digest_read_item(&item, &reader);
}

TEST(hours_are_in_order_and_within_their_bounds)
{
	CHECK_OK(read_hours(5, 5, 0, 0, 0));
	CHECK_OK(read_hours(5, 7, 3, 5, 1));
	CHECK_STATUS(KMS_ERR_RECORD, read_hours(0, 7, 0, 0, 0));
	CHECK_STATUS(KMS_ERR_RECORD, read_hours(6, 5, 0, 0, 0));
	CHECK_STATUS(KMS_ERR_RECORD, read_hours(5, 7, 2, 5, 0));
	CHECK_STATUS(KMS_ERR_RECORD, read_hours(5, 7, 1, 4, 1));
	CHECK_STATUS(KMS_ERR_RECORD, read_hours(5, 7, 1, 8, 1));
	CHECK_OK(read_hours(1, UINT32_MAX, DIGEST_HOURS, 1, 1));
	CHECK_STATUS(KMS_ERR_RECORD, read_hours(1, UINT32_MAX, DIGEST_HOURS + 1, 1, 1));
}

TEST(heads_name_a_version_and_a_kind)
{
	for (unsigned version = 0; version < 256; version++) {
		for (unsigned number = 0; number < 256; number++) {
			digest_kind kind;
			uint8_t key_id[KMS_TREE_KEY_ID];
			const uint8_t bytes[2 + KMS_TREE_KEY_ID] = { (uint8_t)version, (uint8_t)number };
			kms_reader reader = kms_reader_make(KMS_SPAN(bytes));
			bool good =
			    version == DIGEST_VERSION && number >= DIGEST_ROOT && number <= DIGEST_OTHER_KEY;
			CHECK_STATUS(good ? KMS_OK : KMS_ERR_RECORD,
				     kms_digest_read_head(&kind, key_id, &reader));
		}
	}
}

TEST(hours_of_roots_begin_at_one)
{
	for (uint8_t first = 0; first < 2; first++) {
		uint32_t hour;
		kms_tree_root root;
		const uint8_t bytes[4 + 2 * KMS_TREE_DIGEST] = { 0, 0, 0, first };
		kms_reader reader = kms_reader_make(KMS_SPAN(bytes));
		CHECK_STATUS(first ? KMS_OK : KMS_ERR_RECORD, kms_digest_read_root(&hour, &root, &reader));
	}
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_range_has_a_depth_that_ranges_have),
	  T(an_item_has_no_more_leaves_than_a_range), T(hours_are_in_order_and_within_their_bounds),
	  T(heads_name_a_version_and_a_kind), T(hours_of_roots_begin_at_one))
