/*
 * The fields of a document: each bound at its limit and one past it, each type, each set of
 * names. Malformed documents are signed properly, so that no other check refuses them.
 */
#include "attest_shape_kit.h"

TEST(texts_have_bounds_and_are_utf8)
{
	fresh();
	ACCEPTED(MODULE_ID, put_filled(v, 3, 'x', 1));
	ACCEPTED(MODULE_ID, put_filled(v, 3, 'x', KMS_ATTEST_MAX_MODULE_ID));
	ACCEPTED(MODULE_ID, put_text(v, "\xc3\xa4\xf0\x9f\x98\x80"));
	REFUSED(MODULE_ID, put_filled(v, 3, 'x', 0));
	REFUSED(MODULE_ID, put_filled(v, 3, 'x', KMS_ATTEST_MAX_MODULE_ID + 1));
	REFUSED(MODULE_ID, put_text(v, "\xff"));
	REFUSED(MODULE_ID, put_text(v, "\xc0\x80"));
	REFUSED(MODULE_ID, put_text(v, "\xed\xa0\x80"));
	REFUSED(DIGEST, put_filled(v, 3, 'x', 0));
	REFUSED(DIGEST, put_filled(v, 3, 'x', 17));
	policy.now_ms = KIT_NOW_MS;
	VALUE(DIGEST, put_filled(v, 3, 'x', 16));
	EXPECT(&d, &policy, DIGEST);
}

TEST(byte_strings_have_bounds)
{
	static const struct {
		int field;
		size_t min, max;
		bool null;
	} cases[] = { { PUBLIC_KEY, 1, 1024, true }, { USER_DATA, 0, 1024, true }, { NONCE, 0, 1024, true } };
	fresh();
	for (size_t i = 0; i < 3; i++) {
		ACCEPTED(cases[i].field, put_filled(v, 2, 1, cases[i].min));
		ACCEPTED(cases[i].field, put_filled(v, 2, 1, cases[i].max));
		ACCEPTED(cases[i].field, PUT(v, "\xf6"));
		REFUSED(cases[i].field, put_filled(v, 2, 1, cases[i].max + 1));
		if (cases[i].min) REFUSED(cases[i].field, put_filled(v, 2, 1, 0));
	}
	/* At the limit the field is well formed, though these bytes are no certificate. */
	VALUE(CERTIFICATE, put_filled(v, 2, 0x30, KMS_ATTEST_MAX_CERTIFICATE));
	EXPECT(&d, &policy, CHAIN);
	REFUSED(CERTIFICATE, put_filled(v, 2, 0x30, KMS_ATTEST_MAX_CERTIFICATE + 1));
	REFUSED(CERTIFICATE, put_filled(v, 2, 0x30, 0));
	REFUSED(CERTIFICATE, PUT(v, "\xf6"));
	VALUE(CABUNDLE, {
		put_head(v, 4, 1);
		put_filled(v, 2, 0x30, KMS_ATTEST_MAX_CERTIFICATE);
	});
	EXPECT(&d, &policy, ROOT);
	REFUSED(CABUNDLE, {
		put_head(v, 4, 1);
		put_filled(v, 2, 0x30, KMS_ATTEST_MAX_CERTIFICATE + 1);
	});
	REFUSED(CABUNDLE, {
		put_head(v, 4, 1);
		put_filled(v, 2, 0x30, 0);
	});
	REFUSED(CABUNDLE, put_head(v, 4, 0));
}

TEST(the_timestamp_has_bounds)
{
	fresh();
	policy.max_ahead_ms = UINT64_MAX;
	ACCEPTED(TIMESTAMP, put_head(v, 0, 1));
	ACCEPTED(TIMESTAMP, put_head(v, 0, 253402300799999u));
	REFUSED(TIMESTAMP, put_head(v, 0, 0));
	REFUSED(TIMESTAMP, put_head(v, 0, 253402300800000u));
	REFUSED(TIMESTAMP, put_head(v, 0, UINT64_MAX));
	REFUSED(TIMESTAMP, put_head(v, 1, KIT_NOW_MS));
	REFUSED(TIMESTAMP, PUT(v, "\xfb\x41\xd9\x3f\xcb\x9b\x00\x00\x00")); /* a float */
	REFUSED(TIMESTAMP, {
		put_head(v, 6, 1);
		put_head(v, 0, KIT_NOW_MS);
	});                                         /* tagged */
	REFUSED(TIMESTAMP, PUT(v, "\xc2\x41\x01")); /* a bignum */
}

TEST(registers_have_bounds)
{
	fresh();
	for (unsigned count = 1; count <= 33; count++) {
		VALUE(PCRS, {
			put_head(v, 5, count);
			for (unsigned i = 0; i < count; i++)
				pcr(v, i % 32, 48);
		});
		CALL(expect_failure, &d, &policy, count <= 32 ? KMS_ATTEST_NONE : KMS_ATTEST_SHAPE);
	}
	VALUE(PCRS, {
		put_head(v, 5, 2);
		pcr(v, 31, 48);
		pcr(v, 0, 48);
	}); /* in any order */
	EXPECT(&d, &policy, NONE);
	REFUSED(PCRS, put_head(v, 5, 0));
	REFUSED(PCRS, {
		put_head(v, 5, 2);
		pcr(v, 0, 48);
		pcr(v, 32, 48);
	});
	REFUSED(PCRS, {
		put_head(v, 5, 2);
		pcr(v, 0, 48);
		pcr(v, 0, 48);
	}); /* a duplicate */
	REFUSED(PCRS, {
		put_head(v, 5, 1);
		pcr(v, 0, 48);
		pcr(v, 1, 48);
	});
	REFUSED(PCRS, {
		put_head(v, 5, 3);
		pcr(v, 0, 48);
		pcr(v, 1, 48);
	});
	for (size_t len = 0; len <= 80; len++) {
		bool known = len == 32 || len == 48 || len == 64;
		VALUE(PCRS, {
			put_head(v, 5, 2);
			pcr(v, 0, 48);
			pcr(v, 1, len);
		});
		CALL(expect_failure, &d, &policy,
		     len == 48 ? KMS_ATTEST_NONE
		     : known   ? KMS_ATTEST_DIGEST
			       : KMS_ATTEST_SHAPE);
	}
	REFUSED(PCRS, {
		put_head(v, 5, 1);
		put_text(v, "0");
		put_filled(v, 2, 1, 48);
	});
	REFUSED(PCRS, {
		put_head(v, 5, 1);
		put_head(v, 1, 0);
		put_filled(v, 2, 1, 48);
	});
	REFUSED(PCRS, {
		put_head(v, 5, 1);
		put_head(v, 0, 0);
		put_filled(v, 3, 'x', 48);
	});
	REFUSED(PCRS, {
		put_head(v, 4, 1);
		put_filled(v, 2, 1, 48);
	});
}

TEST(every_field_has_its_type)
{
	static const char *const others[] = { "\x01",
					      "\x20",
					      "\x41x",
					      "\x61x",
					      "\x80",
					      "\xa0",
					      "\xc0\x41x",
					      "\xf4",
					      "\xf5",
					      "\xf7",
					      "\xe1",
					      "\xf8\xff",
					      "\xf9\x3c\x01",
					      "\x81\x81\x81\x81\x81\x81\x81\x01",
					      "\xa1\x01\xa1\x01\x01" };
	fresh();
	for (int field = 0; field < FIELDS; field++) {
		for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
			bool bytes_field = field >= CERTIFICATE && field != CABUNDLE;
			if (field == TIMESTAMP && i == 0) continue;
			if (bytes_field && i == 2) continue;
			if ((field == MODULE_ID || field == DIGEST) && i == 3) continue;
			REFUSED(field, put(v, others[i], strlen(others[i])));
		}
		if (field < PUBLIC_KEY) REFUSED(field, PUT(v, "\xf6"));
	}
}

TEST(each_of_the_nine_fields_is_there_once)
{
	for (int field = 0; field < FIELDS; field++) {
		for (int indefinite = 0; indefinite < 2; indefinite++) {
			fresh();
			d.indefinite = indefinite;
			d.leave_out[field] = true;
			assemble(&d);
			EXPECT(&d, &policy, SHAPE);
			/* Instead: a longer name, a shorter one, the name of another field. */
			d.leave_out[field] = false;
			snprintf(d.names[field], 16, "%.10sx", field_names[field]);
			assemble(&d);
			EXPECT(&d, &policy, SHAPE);
			snprintf(d.names[field], 16, "%.*s", (int)strlen(field_names[field]) - 1,
				 field_names[field]);
			assemble(&d);
			EXPECT(&d, &policy, SHAPE);
			snprintf(d.names[field], 16, "%s", field_names[field == 0]);
			assemble(&d);
			EXPECT(&d, &policy, SHAPE);
			snprintf(d.names[field], 16, "%s", field_names[field]);
			/* One more: a duplicate, a name that is no text. */
			put_text(&d.extra, field_names[field]);
			put(&d.extra, d.values[field].data, d.values[field].len);
			assemble(&d);
			EXPECT(&d, &policy, SHAPE);
			d.extra.len = 0;
			PUT(&d.extra, "\x01\x01");
			assemble(&d);
			EXPECT(&d, &policy, SHAPE);
			d.extra.len = 0;
			assemble(&d);
			EXPECT(&d, &policy, NONE);
		}
	}
}

/* A document whose payload has `extra` after the nine fields, `count` members more. */
static void with_extra(int *failed_, kms_attest_failure want, const char *extra, size_t len, size_t count)
{
	for (int indefinite = 0; indefinite < 2; indefinite++) {
		fresh();
		d.indefinite = indefinite;
		put(&d.extra, extra, len);
		assemble(&d);
		if (!indefinite) d.payload.data[0] = (uint8_t)(0xa9 + count);
		build_signature(&d);
		d.out.len = 0;
		PUT(&d.out, "\x84\x44\xa1\x01\x38\x22\xa0");
		put_bytes(&d.out, d.payload.data, d.payload.len);
		put(&d.out, d.signature.data, d.signature.len);
		CALL(expect_failure, &d, &policy, want);
	}
}

#define EXTRA(want, literal, count) CALL(with_extra, KMS_ATTEST_##want, literal, sizeof(literal) - 1, count)

/* AWS has added a field before: a cluster whose members then refuse each other is down. */
TEST(unknown_fields_are_passed_over)
{
	EXTRA(NONE, "\x65other\x01", 1);
	EXTRA(NONE, "\x65other\x39\x01\x00", 1);
	EXTRA(NONE,
	      "\x65other\x43"
	      "abc",
	      1);
	EXTRA(NONE,
	      "\x65other\x5f\x41"
	      "a\x41"
	      "b\xff",
	      1);
	EXTRA(NONE,
	      "\x65other\x7f\x61"
	      "a\xff\x61"
	      "b\xf6",
	      2);
	EXTRA(NONE, "\x65other\x83\x01\x80\xa0", 1);
	EXTRA(NONE, "\x65other\x9f\x01\xff", 1);
	EXTRA(NONE,
	      "\x65other\xa1\x61"
	      "k\xa1\x01\x02",
	      1);
	EXTRA(NONE,
	      "\x65other\xbf\x61"
	      "k\xf5\xff",
	      1);
	EXTRA(NONE, "\x65other\xc1\x1a\x00\x00\x00\x01", 1);
	EXTRA(NONE, "\x65other\xf9\x00\x00", 1);
	EXTRA(NONE, "\x65other\xfb\x00\x00\x00\x00\x00\x00\x00\x00", 1);
	EXTRA(NONE, "\x65other\x87\x81\x81\x81\x81\x81\x81\x80\x01\x01\x01\x01\x01\x01", 1);
}

TEST(unknown_fields_are_bounded)
{
	bytes many = { 0 };
	EXTRA(SHAPE, "\x65other", 1);
	EXTRA(SHAPE, "\x65other\x81\x81\x81\x81\x81\x81\x81\x81\x01", 1);
	EXTRA(SHAPE,
	      "\x65other\x43"
	      "ab",
	      1);
	EXTRA(SHAPE, "\x65other\x5b\xff\xff\xff\xff\xff\xff\xff\xff", 1);
	EXTRA(SHAPE, "\x65other\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x01", 1);
	EXTRA(SHAPE, "\x65other\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01", 1);
	EXTRA(SHAPE,
	      "\x65other\x5f\x61"
	      "a\xff",
	      1);
	EXTRA(SHAPE, "\x65other\x5f\x5f\xff\xff", 1);
	EXTRA(SHAPE, "\x65other\xbf\x01\xff", 1);
	EXTRA(SHAPE, "\x65other\x1c", 1);
	EXTRA(SHAPE, "\x65other\x1f", 1);
	EXTRA(SHAPE, "\x65other\xff", 1);
	for (int i = 0; i < 17; i++) {
		put_text(&many, "n");
		put(&many, "\x01", 1);
	}
	/* 25 members need a second byte in the map's head: the indefinite form alone shows the limit. */
	for (size_t count = 16; count <= 17; count++) {
		fresh();
		d.indefinite = true;
		put(&d.extra, many.data, 3 * count);
		assemble(&d);
		CALL(expect_failure, &d, &policy, count == 16 ? KMS_ATTEST_NONE : KMS_ATTEST_SHAPE);
	}
}

TEST(fields_may_come_in_any_order)
{
	fresh();
	for (int turn = 1; turn < FIELDS; turn++) {
		bytes first = d.values[0];
		char name[16];
		memcpy(name, d.names[0], 16);
		for (int i = 0; i + 1 < FIELDS; i++) {
			d.values[i] = d.values[i + 1];
			memcpy(d.names[i], d.names[i + 1], 16);
		}
		d.values[FIELDS - 1] = first;
		memcpy(d.names[FIELDS - 1], name, 16);
		assemble(&d);
		EXPECT(&d, &policy, NONE);
	}
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(texts_have_bounds_and_are_utf8), T(byte_strings_have_bounds),
	  T(the_timestamp_has_bounds), T(registers_have_bounds), T(every_field_has_its_type),
	  T(each_of_the_nine_fields_is_there_once), T(unknown_fields_are_passed_over),
	  T(unknown_fields_are_bounded), T(fields_may_come_in_any_order))
