/*
 * The form of a document: each bound at its limit and one past it, each type, each way in which
 * CBOR can say a thing twice. Broken forms are signed properly, so that nothing else refuses.
 */
#include "attest_kit.h"

static doc d;
static kms_attest_policy policy;

static void fresh(void)
{
	honest(&d, 2);
	policy = lenient(&d);
}

#define VALUE(field, ...)                    \
	do {                                 \
		bytes *v = &d.values[field]; \
		v->len = 0;                  \
		__VA_ARGS__;                 \
		assemble(&d);                \
	} while (0)

/* A field with that value is refused for its form; then the document is honest again. */
#define REFUSED(field, ...)                   \
	do {                                  \
		bytes kept = d.values[field]; \
		VALUE(field, __VA_ARGS__);    \
		EXPECT(&d, &policy, SHAPE);   \
		d.values[field] = kept;       \
	} while (0)

#define ACCEPTED(field, ...)                  \
	do {                                  \
		bytes kept = d.values[field]; \
		VALUE(field, __VA_ARGS__);    \
		EXPECT(&d, &policy, NONE);    \
		d.values[field] = kept;       \
	} while (0)

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
	} cases[] = { { PUBLIC_KEY, 1, 1024, true }, { USER_DATA, 0, 512, true }, { NONCE, 0, 512, true } };
	fresh();
	for (size_t i = 0; i < 3; i++) {
		ACCEPTED(cases[i].field, put_filled(v, 2, 1, cases[i].min));
		ACCEPTED(cases[i].field, put_filled(v, 2, 1, cases[i].max));
		ACCEPTED(cases[i].field, PUT(v, "\xf6"));
		REFUSED(cases[i].field, put_filled(v, 2, 1, cases[i].max + 1));
		if (cases[i].min) REFUSED(cases[i].field, put_filled(v, 2, 1, 0));
	}
	/* A certificate at its limit is none, but well formed. */
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
	});                                         /* a tag on it */
	REFUSED(TIMESTAMP, PUT(v, "\xc2\x41\x01")); /* a bignum */
}

static void pcr(bytes *out, unsigned index, size_t len)
{
	put_head(out, 0, index);
	put_filled(out, 2, (uint8_t)(index + 1), len);
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

TEST(fields_are_exactly_the_nine)
{
	for (int field = 0; field < FIELDS; field++) {
		for (int indefinite = 0; indefinite < 2; indefinite++) {
			fresh();
			d.indefinite = indefinite;
			d.leave_out[field] = true;
			assemble(&d);
			EXPECT(&d, &policy, SHAPE);
			/* Another one in its place, one that begins alike, the same one twice. */
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
			/* One more: the same again, and an unknown one. */
			put_text(&d.extra, field_names[field]);
			put(&d.extra, d.values[field].data, d.values[field].len);
			assemble(&d);
			EXPECT(&d, &policy, SHAPE);
			d.extra.len = 0;
			PUT(&d.extra, "\x65other\x01");
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

TEST(lengths_are_definite_everywhere_below_the_payload)
{
	fresh();
	REFUSED(MODULE_ID, PUT(v, "\x7f\x61x\xff"));
	REFUSED(DIGEST, PUT(v, "\x7f\x66SHA384\xff"));
	REFUSED(NONCE, PUT(v, "\x5f\x41x\xff"));
	REFUSED(USER_DATA, PUT(v, "\x5f\xff"));
	REFUSED(PUBLIC_KEY, PUT(v, "\x5f\x41x\xff"));
	REFUSED(PCRS, {
		PUT(v, "\xbf");
		pcr(v, 0, 48);
		PUT(v, "\xff");
	});
	REFUSED(CABUNDLE, {
		PUT(v, "\x9f");
		put_bytes(v, d.der[0].data, d.der[0].len);
		PUT(v, "\xff");
	});
	/* An indefinite payload ends with a break, and right behind the ninth field. */
	fresh();
	d.indefinite = true;
	assemble(&d);
	EXPECT(&d, &policy, NONE);
	for (int last = 0xf5; last < 0xff; last++) {
		fresh();
		d.payload.data[0] = 0xbf;
		if (last > 0xf5) d.payload.data[d.payload.len++] = (uint8_t)last; /* else nothing at all */
		build_signature(&d);
		d.out.len = 0;
		PUT(&d.out, "\x84\x44\xa1\x01\x38\x22\xa0");
		put_bytes(&d.out, d.payload.data, d.payload.len);
		put(&d.out, d.signature.data, d.signature.len);
		EXPECT(&d, &policy, SHAPE);
	}
}

TEST(numbers_are_in_their_shortest_form)
{
	static const char *const longer[] = { "\x58\x05", "\x59\x00\x05", "\x5a\x00\x00\x00\x05",
					      "\x5b\x00\x00\x00\x00\x00\x00\x00\x05" };
	static const size_t lens[] = { 2, 3, 5, 9 };
	fresh();
	ACCEPTED(NONCE, PUT(v, "\x45hello"));
	for (size_t i = 0; i < 4; i++)
		REFUSED(NONCE, {
			put(v, longer[i], lens[i]);
			PUT(v, "hello");
		});
	ACCEPTED(NONCE, put_filled(v, 2, 1, 255));
	ACCEPTED(NONCE, put_filled(v, 2, 1, 256));
	REFUSED(NONCE, {
		PUT(v, "\x59\x00\xff");
		for (int i = 0; i < 255; i++)
			PUT(v, "x");
	});
	REFUSED(NONCE, {
		PUT(v, "\x5a\x00\x00\x01\x00");
		for (int i = 0; i < 256; i++)
			PUT(v, "x");
	});
	REFUSED(NONCE, {
		PUT(v, "\x5b\0\0\0\0\0\0\x01\x00");
		for (int i = 0; i < 256; i++)
			PUT(v, "x");
	});
	policy.max_age_ms = KMS_ATTEST_ANY_AGE;
	ACCEPTED(TIMESTAMP, PUT(v, "\x1a\xff\xff\xff\xff"));
	ACCEPTED(TIMESTAMP, PUT(v, "\x1b\0\0\0\x01\0\0\0\0"));
	REFUSED(TIMESTAMP, PUT(v, "\x1b\0\0\0\0\xff\xff\xff\xff"));
	REFUSED(TIMESTAMP, PUT(v, "\x1a\0\0\xff\xff"));
	REFUSED(TIMESTAMP, PUT(v, "\x19\0\xff"));
	REFUSED(TIMESTAMP, PUT(v, "\x18\x17"));
	ACCEPTED(TIMESTAMP, PUT(v, "\x18\x18"));
	for (int reserved = 28; reserved <= 31; reserved++) {
		uint8_t head = (uint8_t)(0x40 | reserved);
		REFUSED(NONCE, put(v, &head, 1));
		REFUSED(NONCE, {
			put(v, &head, 1);
			PUT(v, "\0\0\0\0");
		});
	}
}

/* Heads that announce what is not there: nothing may be taken for them. */
TEST(absurd_sizes_are_refused)
{
	static const char *const heads[] = { "\x5a\x7f\xff\xff\xff", "\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
					     "\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", "\x5a\xff\xff\xff\xff" };
	static const size_t lens[] = { 5, 9, 9, 5 };
	fresh();
	for (unsigned major = 0; major < 8; major++) {
		for (size_t i = 0; i < 4; i++) {
			uint8_t head[9];
			memcpy(head, heads[i], lens[i]);
			head[0] = (uint8_t)((head[0] & 0x1f) | major << 5);
			for (int field = 0; field < FIELDS; field++) {
				if (field == TIMESTAMP && major == 0) continue;
				REFUSED(field, put(v, head, lens[i]));
			}
			/* In the place of the payload, and of everything. */
			d.out.len = 0;
			PUT(&d.out, "\x84\x44\xa1\x01\x38\x22\xa0");
			put(&d.out, head, lens[i]);
			EXPECT(&d, &policy, SHAPE);
			d.out.len = 0;
			put(&d.out, head, lens[i]);
			EXPECT(&d, &policy, SHAPE);
		}
	}
}

/* The envelope with one piece replaced. */
#define ENVELOPE(piece, literal)            \
	do {                                \
		fresh();                    \
		d.piece.len = 0;            \
		d.resign = false;           \
		PUT(&d.piece, literal);     \
		assemble(&d);               \
		EXPECT(&d, &policy, SHAPE); \
	} while (0)

TEST(the_envelope_is_exactly_a_sign1)
{
	ENVELOPE(before, "\xd1");         /* tag 17 */
	ENVELOPE(before, "\xd8\x62");     /* tag 98: COSE_Sign */
	ENVELOPE(before, "\xd2\xd2");     /* twice */
	ENVELOPE(before, "\xd8\x12");     /* not its shortest form */
	ENVELOPE(before, "\xd9\xd9\xf7"); /* self-described CBOR */
	ENVELOPE(before, "\0");
	ENVELOPE(header, "\x44\xa1\x01\x38\x23");     /* ES512 */
	ENVELOPE(header, "\x43\xa1\x01\x26");         /* ES256 */
	ENVELOPE(header, "\x40");                     /* none */
	ENVELOPE(header, "\x41\xa0");                 /* an empty map */
	ENVELOPE(header, "\xa1\x01\x38\x22");         /* not in a byte string */
	ENVELOPE(header, "\x58\x04\xa1\x01\x38\x22"); /* a longer head */
	ENVELOPE(header, "\x45\xa1\x01\x39\x00\x22"); /* a longer number */
	ENVELOPE(header, "\x46\xbf\x01\x38\x22\xff\0");
	ENVELOPE(header, "\x46\xa2\x01\x38\x22\x04\x40"); /* a key id, too */
	ENVELOPE(unprotected, "\xa1\x04\x40");
	ENVELOPE(unprotected, "\xa1"); /* what it announces would be the payload */
	ENVELOPE(unprotected, "\xbf\xff");
	ENVELOPE(unprotected, "\x80");
	ENVELOPE(unprotected, "\xf6");
	ENVELOPE(signature, "\x40");
	ENVELOPE(signature, "\xf6");
	ENVELOPE(after, "\0");
	ENVELOPE(after, "\xff");
	ENVELOPE(after, "\xf6");
	for (size_t len = 0; len < 200; len++) {
		fresh();
		d.resign = false;
		d.signature.len = 0;
		put_filled(&d.signature, 2, 1, len);
		assemble(&d);
		CALL(expect_failure, &d, &policy, len == 96 ? KMS_ATTEST_SIGNATURE : KMS_ATTEST_SHAPE);
		if (len == 97) len = 190;
	}
	/* Anything but an array of four, and an array of another length. */
	for (int head = 0; head <= 0xff; head++) {
		if (head == 0x84) continue;
		fresh();
		d.out.data[0] = (uint8_t)head;
		EXPECT(&d, &policy, SHAPE);
	}
	/* A payload with something behind the map, and no payload. */
	fresh();
	PUT(&d.extra, "\0");
	d.out.len = 0;
	PUT(&d.out, "\x84\x44\xa1\x01\x38\x22\xa0");
	put(&d.payload, "\0", 1);
	put_bytes(&d.out, d.payload.data, d.payload.len);
	put(&d.out, d.signature.data, d.signature.len);
	EXPECT(&d, &policy, SHAPE);
	d.out.len = 0;
	PUT(&d.out, "\x84\x44\xa1\x01\x38\x22\xa0\xf6");
	put(&d.out, d.signature.data, d.signature.len);
	EXPECT(&d, &policy, SHAPE);
}

/* Every cut ends in a refusal, read from a block of exactly its size, so that a sanitizer sees more. */
TEST(truncated_documents_are_refused)
{
	kms_attest_facts facts;
	kms_attest_failure failure;
	fresh();
	for (size_t len = 0; len < d.out.len; len++) {
		uint8_t *cut = malloc(len ? len : 1);
		CHECK(cut);
		memcpy(cut, d.out.data, len);
		kms_status status = kms_attest_verify(&facts, &failure, cut, len, &policy);
		free(cut);
		CHECK_STATUS(KMS_ERR_ATTEST, status);
		CHECK(failure == KMS_ATTEST_SHAPE);
	}
}

TEST(the_whole_has_a_limit)
{
	honest(&d, 8);
	policy = lenient(&d);
	CHECK(d.out.len < KMS_ATTEST_MAX_DOCUMENT);
	/* Many small certificates are well formed up to the limit, and one byte more is not. */
	size_t room = KMS_ATTEST_MAX_DOCUMENT - (d.out.len - d.values[CABUNDLE].len) - 3;
	VALUE(CABUNDLE, {
		put_head(v, 4, room / 2);
		for (size_t i = 0; i < room / 2; i++)
			PUT(v, "\x41\x30");
		if (room % 2) v->data[v->len - 2] = 0x42, PUT(v, "x");
	});
	CHECK(d.out.len == KMS_ATTEST_MAX_DOCUMENT);
	EXPECT(&d, &policy, ROOT);
	put_filled(&d.values[NONCE], 2, 1, 0);
	d.values[NONCE].len = 0;
	put_filled(&d.values[NONCE], 2, 1, 33);
	assemble(&d);
	CHECK(d.out.len == KMS_ATTEST_MAX_DOCUMENT + 1);
	EXPECT(&d, &policy, SHAPE);
	kms_attest_facts facts;
	kms_attest_failure failure;
	CHECK_STATUS(KMS_ERR_ATTEST, kms_attest_read(&facts, &failure, d.out.data, d.out.len));
	CHECK(failure == KMS_ATTEST_SHAPE);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(texts_have_bounds_and_are_utf8), T(byte_strings_have_bounds),
	  T(the_timestamp_has_bounds), T(registers_have_bounds), T(every_field_has_its_type),
	  T(fields_are_exactly_the_nine), T(fields_may_come_in_any_order),
	  T(lengths_are_definite_everywhere_below_the_payload), T(numbers_are_in_their_shortest_form),
	  T(absurd_sizes_are_refused), T(the_envelope_is_exactly_a_sign1), T(truncated_documents_are_refused),
	  T(the_whole_has_a_limit))
