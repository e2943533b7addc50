/*
 * The format of a document: CBOR with more than one encoding for the same thing, the envelope,
 * truncation, sizes. Malformed documents are signed properly, so that no other check refuses them.
 */
#include "attest_shape_kit.h"

TEST(only_maps_and_lists_have_indefinite_lengths)
{
	fresh();
	REFUSED(MODULE_ID, PUT(v, "\x7f\x61x\xff"));
	REFUSED(DIGEST, PUT(v, "\x7f\x66SHA384\xff"));
	REFUSED(NONCE, PUT(v, "\x5f\x41x\xff"));
	REFUSED(USER_DATA, PUT(v, "\x5f\xff"));
	REFUSED(PUBLIC_KEY, PUT(v, "\x5f\x41x\xff"));
	ACCEPTED(PCRS, {
		PUT(v, "\xbf");
		pcr(v, 0, 48);
		PUT(v, "\xff");
	});
	REFUSED(PCRS, PUT(v, "\xbf\xff"));
	REFUSED(PCRS, {
		PUT(v, "\xbf");
		pcr(v, 0, 48);
	});
	ACCEPTED(CABUNDLE, {
		PUT(v, "\x9f");
		put_bytes(v, d.der[0].data, d.der[0].len);
		PUT(v, "\xff");
	});
	REFUSED(CABUNDLE, PUT(v, "\x9f\xff"));
	REFUSED(CABUNDLE, {
		PUT(v, "\x9f");
		put_bytes(v, d.der[0].data, d.der[0].len);
	});
	/* An indefinite payload must end with a break, directly after the ninth field. */
	fresh();
	d.indefinite = true;
	assemble(&d);
	EXPECT(&d, &policy, NONE);
	for (int last = 0xf5; last < 0xff; last++) {
		fresh();
		d.payload.data[0] = 0xbf;
		if (last > 0xf5)
			d.payload.data[d.payload.len++] = (uint8_t)last; /* else the input ends here */
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

/* Heads that announce far more than follows. */
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
			/* Instead of the payload, and instead of the document. */
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

/* An envelope with this piece replaced is refused. */
#define ENVELOPE(piece, literal)            \
	do {                                \
		fresh();                    \
		d.piece.len = 0;            \
		d.resign = false;           \
		PUT(&d.piece, literal);     \
		assemble(&d);               \
		EXPECT(&d, &policy, SHAPE); \
	} while (0)

TEST(the_envelope_is_a_sign1_and_nothing_else)
{
	ENVELOPE(before, "\xd1");         /* tag 17 */
	ENVELOPE(before, "\xd8\x62");     /* tag 98: COSE_Sign */
	ENVELOPE(before, "\xd2\xd2");     /* twice */
	ENVELOPE(before, "\xd8\x12");     /* not the shortest form */
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
	ENVELOPE(unprotected, "\xa1"); /* its announced member would be the payload */
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
	/* Every other first byte: other types, arrays of other lengths. */
	for (int head = 0; head <= 0xff; head++) {
		if (head == 0x84) continue;
		fresh();
		d.out.data[0] = (uint8_t)head;
		EXPECT(&d, &policy, SHAPE);
	}
	/* A payload with a byte after the map, and a null payload. */
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

/* From a block of the exact size, so that a sanitizer sees a read beyond the end. */
TEST(truncated_documents_are_refused)
{
	kms_attest_facts facts;
	kms_attest_failure failure;
	fresh();
	for (size_t len = 0; len < d.out.len; len++) {
		uint8_t *cut = malloc(len ? len : 1);
		CHECK(cut);
		memcpy(cut, d.out.data, len);
		kms_status status = kms_attest_verify(&facts, &failure, kms_span_of(cut, len), &policy);
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
	/* Many small certificates: well formed at the limit, refused one byte beyond it. */
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
	CHECK_STATUS(KMS_ERR_ATTEST, kms_attest_read(&facts, &failure, out_of(&d)));
	CHECK(failure == KMS_ATTEST_SHAPE);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(only_maps_and_lists_have_indefinite_lengths),
	  T(numbers_are_in_their_shortest_form), T(absurd_sizes_are_refused),
	  T(the_envelope_is_a_sign1_and_nothing_else), T(truncated_documents_are_refused),
	  T(the_whole_has_a_limit))
