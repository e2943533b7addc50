/* Values of records in base64, as messages of sessions have them. */
#include "sync_kit.h"

static kms_sync_counts merged_from(kms_status (*parse)(kms_sync **message, const char **field,
						       kms_buf *plain),
				   kms_store *store, const kms_buf *text)
{
	kms_sync *message;
	const char *field;
	kms_sync_counts counts = { 0 };
	kms_buf copy = wiped_copy((const char *)text->data, text->len);
	MUST(parse(&message, &field, &copy));
	MUST(apply_message(&counts, message, store));
	kms_sync_free(message);
	return counts;
}

TEST(values_travel_in_base64_between_nodes_that_expect_it)
{
	kms_store *from = kit_store(1), *to = kit_store(2), *other = kit_store(3);
	kms_delta d;
	kms_delta_options o = all_changes;
	kms_sync_counts counts;
	kms_buf text = data_text();
	add_live(&text, "a", 1, WALLET, 1, NOW);
	add(&text, ",");
	add_live(&text, "b", 2, WALLET, 2, NOW);
	add(&text, "]}}");
	CHECK_OK(apply_text(&counts, from, &text));
	CHECK(counts_are(&counts, 2, 2, 0, 0, 0));
	kms_buf_free(&text);
	o.base64 = true;
	add(&text, "{\"data\":");
	CHECK_OK(kms_sync_delta(&d, &text, from, &o));
	add(&text, "}");
	counts = merged_from(kms_sync_parse_base64, to, &text);
	CHECK(counts_are(&counts, 2, 2, 0, 0, 0));
	/* Read as hexadecimal it is none, whole records are rejected, and nothing else happens. */
	counts = merged_from(kms_sync_parse, other, &text);
	CHECK(counts_are(&counts, 2, 0, 0, 2, 0));
	kms_buf a = content_of(from), b = content_of(to);
	CHECK(same_bytes(&a, &b));
	kms_buf_free(&text);
	kms_buf_free(&a);
	kms_buf_free(&b);
	kms_store_free(from);
	kms_store_free(to);
	kms_store_free(other);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(values_travel_in_base64_between_nodes_that_expect_it))
