/* Encrypted bodies: sealed, opened, refused. Known answers: test_envelope_vectors.c. */
#include "base/testing.h"
#include "envelope_kit.h"

TEST(what_is_sealed_opens)
{
	static uint8_t plain[20000];
	static const size_t sizes[] = { 0, 1, 2, 4095, 4096, 4097, sizeof(plain) };
	kms_secret *key = hex_secret(KEY);
	kms_p384 *own = hex_p384("42"), *other = hex_p384("43");
	memset(plain, 'x', sizeof(plain));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		kms_envelope envelope;
		kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 1 << 20),
			opened = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
		CHECK_OK(kms_envelope_seal(&text, key, kms_p384_public(own),
					   kms_span_of(sizes[i] ? plain : NULL, sizes[i])));
		CHECK_OK(kms_envelope_parse(&envelope, (char *)text.data, text.len));
		CHECK(envelope.sender_len == 120 && envelope.hex.len == 2 * (sizes[i] + 16));
		CHECK_OK(kms_envelope_check_sender(&envelope, kms_p384_public(own)));
		CHECK_STATUS(KMS_ERR_SENDER_KEY,
			     kms_envelope_check_sender(&envelope, kms_p384_public(other)));
		CHECK(envelope.nonce.len == 64);
		CHECK_OK(kms_envelope_open(&opened, &envelope, key));
		kms_buf also = kms_buf_make(KMS_BUF_WIPED, 1 << 20);
		CHECK_OK(kms_envelope_open(&also, &envelope, key));
		CHECK(also.len == opened.len && (!also.len || memcmp(also.data, opened.data, also.len) == 0));
		kms_buf_free(&also);
		CHECK(opened.len == sizes[i]);
		CHECK(!sizes[i] || memcmp(opened.data, plain, sizes[i]) == 0);
		kms_buf_free(&text);
		kms_buf_free(&opened);
	}
	kms_p384_free(own);
	kms_p384_free(other);
	kms_secret_unref(key);
}

TEST(what_is_written_is_canonical_and_fresh)
{
	char sender[241], want[1024];
	uint8_t nonce[32], sealed[18];
	char data[37];
	kms_secret *key = hex_secret(KEY);
	kms_p384 *own = hex_p384("42");
	kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 1024), again = kms_buf_make(KMS_BUF_PLAIN, 1024);
	sender_hex(sender, own);
	hex_bytes(nonce, 32, NONCE32);
	CHECK_OK(kms_gcm_seal(sealed, kms_secret_bytes(key), nonce, KMS_BYTES("{}")));
	kms_hex_encode(data, KMS_SPAN(sealed));
	data[36] = '\0';
	snprintf(want, sizeof(want),
		 "{\"encrypted_data\":\"%s\",\"nonce\":\"" NONCE32 "\",\"sender_tee_pubkey\":\"%s\"}", data,
		 sender);
	CHECK_OK(kms_envelope_seal_with(&text, key, kms_p384_public(own), nonce, KMS_BYTES("{}")));
	CHECK(text.len == strlen(want));
	CHECK_MEM(text.data, want, text.len);
	kms_buf_clear(&text);
	CHECK_OK(kms_envelope_seal(&text, key, kms_p384_public(own), KMS_BYTES("{}")));
	CHECK_OK(kms_envelope_seal(&again, key, kms_p384_public(own), KMS_BYTES("{}")));
	CHECK(text.len == again.len && memcmp(text.data, again.data, text.len) != 0);
	kms_buf_free(&text);
	kms_buf_free(&again);
	kms_p384_free(own);
	kms_secret_unref(key);
}

TEST(changed_ciphertext_is_refused)
{
	kms_secret *key = hex_secret(KEY), *other = hex_secret(NONCE32);
	kms_p384 *own = hex_p384("42");
	kms_envelope envelope;
	uint8_t other_key[32];
	hex_bytes(other_key, 32, KEY);
	other_key[31] ^= 1;
	kms_secret_unref(other);
	CHECK_OK(kms_secret_new(&other, kms_span_of(other_key, 32)));
	kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 4096), opened = kms_buf_make(KMS_BUF_GUARDED, 100);
	CHECK_OK(kms_envelope_seal(&text, key, kms_p384_public(own), KMS_BYTES("secret")));
	CHECK_OK(kms_envelope_parse(&envelope, (char *)text.data, text.len));
	char *hex = (char *)text.data + ((const uint8_t *)envelope.hex.text - text.data);
	for (size_t i = 0; i < envelope.hex.len; i++) {
		char was = hex[i];
		hex[i] = was == '0' ? '1' : '0';
		CHECK_STATUS(KMS_ERR_DECRYPT, kms_envelope_open(&opened, &envelope, key));
		hex[i] = 'g';
		CHECK_STATUS(KMS_ERR_HEX, kms_envelope_open(&opened, &envelope, key));
		hex[i] = was;
	}
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_envelope_open(&opened, &envelope, other));
	envelope.iv12[11] ^= 1;
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_envelope_open(&opened, &envelope, key));
	CHECK(opened.len == 0);
	kms_buf_free(&text);
	kms_buf_free(&opened);
	kms_p384_free(own);
	kms_secret_unref(key);
	kms_secret_unref(other);
}

TEST(misuse_and_limits_are_refused)
{
	kms_secret *key = hex_secret(KEY), *half = hex_secret("0011");
	kms_p384 *own = hex_p384("42");
	const uint8_t *own97 = kms_p384_public(own);
	const uint8_t *plain = (const uint8_t *)"secret";
	kms_envelope envelope = { 0 };
	kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 300);
	CHECK_OK(kms_buf_append(&text, KMS_BYTES("x")));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_envelope_seal(&text, key, own97, kms_span_of(plain, 6)));
	CHECK(text.len == 1);
	CHECK_STATUS(KMS_ERR_RANGE, kms_envelope_seal(&text, half, own97, kms_span_of(plain, 6)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_seal(NULL, key, own97, kms_span_of(plain, 6)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_seal(&text, NULL, own97, kms_span_of(plain, 6)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_seal(&text, key, NULL, kms_span_of(plain, 6)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_seal(&text, key, own97, kms_span_of(NULL, 6)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_open(NULL, &envelope, key));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_parse(NULL, (char *)text.data, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_parse(&envelope, NULL, 1));
	CHECK_STATUS(KMS_ERR_JSON, kms_envelope_parse(&envelope, NULL, 0));
	CHECK_STATUS(KMS_ERR_SENDER_KEY, kms_envelope_check_sender(&envelope, own97));
	kms_buf_free(&text);
	kms_p384_free(own);
	kms_secret_unref(key);
	kms_secret_unref(half);
}

TEST(opens_into_memory_that_is_wiped_and_with_a_whole_key)
{
	kms_secret *key = hex_secret(KEY), *half = hex_secret("0011");
	kms_p384 *own = hex_p384("42");
	kms_envelope envelope;
	kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 4096), ordinary = kms_buf_make(KMS_BUF_PLAIN, 100);
	kms_buf opened = kms_buf_make(KMS_BUF_WIPED, 100);
	CHECK_OK(kms_envelope_seal(&text, key, kms_p384_public(own), KMS_BYTES("secret")));
	CHECK_OK(kms_envelope_parse(&envelope, (char *)text.data, text.len));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_open(&ordinary, &envelope, key));
	CHECK(ordinary.len == 0);
	CHECK_STATUS(KMS_ERR_RANGE, kms_envelope_open(&opened, &envelope, half));
	CHECK_OK(kms_envelope_open(&opened, &envelope, key));
	kms_buf_free(&text);
	kms_buf_free(&opened);
	kms_p384_free(own);
	kms_secret_unref(key);
	kms_secret_unref(half);
}

TEST(failing_allocations_leave_nothing)
{
	kms_secret *key = hex_secret(KEY);
	kms_p384 *own = hex_p384("42");
	kms_status status = KMS_ERR_MEMORY;
	bool ended = false;
	for (unsigned long n = 1; n < 100 && !ended; n++) {
		kms_envelope envelope;
		kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 4096), opened = kms_buf_make(KMS_BUF_GUARDED, 100);
		kms_mem_fail_after(n);
		status = kms_envelope_seal(&text, key, kms_p384_public(own), KMS_BYTES("{}"));
		if (status != KMS_OK) CHECK(text.len == 0);
		if (status == KMS_OK) status = kms_envelope_parse(&envelope, (char *)text.data, text.len);
		if (status == KMS_OK) status = kms_envelope_open(&opened, &envelope, key);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		CHECK(opened.len == (status == KMS_OK ? 2 : 0));
		kms_buf_free(&text);
		kms_buf_free(&opened);
	}
	CHECK(ended && status == KMS_OK);
	kms_p384_free(own);
	kms_secret_unref(key);
}

TEST(mutated_envelopes_do_no_harm)
{
	uint64_t state = 0x656e76656c6f7065ULL;
	kms_secret *key = hex_secret(KEY);
	kms_p384 *own = hex_p384("42");
	kms_buf seed = kms_buf_make(KMS_BUF_PLAIN, 4096), opened = kms_buf_make(KMS_BUF_GUARDED, 4096);
	CHECK_OK(kms_envelope_seal(&seed, key, kms_p384_public(own), KMS_BYTES("{\"path\":\"a\"}")));
	int parsed = 0;
	for (int i = 0; i < 100000; i++) {
		kms_envelope envelope;
		body b = body_of(seed.data, seed.len);
		for (int edits = i % 3 + 1; edits; edits--) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			size_t at = (size_t)(state >> 16) % b.len;
			if (state % 5 == 0)
				b.len = at + 1;
			else
				b.text[at] =
				    state % 5 == 1 ? "\"\\{}:,0x"[state >> 60 & 7] : (char)(state >> 8);
		}
		if (kms_envelope_parse(&envelope, b.text, b.len) == KMS_OK) {
			parsed++;
			CHECK(envelope.hex.text >= b.text &&
			      envelope.hex.text + envelope.hex.len <= b.text + b.len);
			CHECK(envelope.hex.len >= 32 && envelope.sender_len <= sizeof(envelope.sender_der));
			kms_buf_clear(&opened);
			(void)(kms_envelope_open(&opened, &envelope, key) == KMS_OK);
			CHECK(opened.len == 0 ||
			      (opened.len == 12 && memcmp(opened.data, "{\"path\":\"a\"}", 12) == 0));
		}
		free(b.text);
	}
	CHECK(parsed > 100); /* some mutants are still envelopes */
	kms_buf_free(&seed);
	kms_buf_free(&opened);
	kms_p384_free(own);
	kms_secret_unref(key);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(what_is_sealed_opens), T(what_is_written_is_canonical_and_fresh),
	  T(changed_ciphertext_is_refused), T(misuse_and_limits_are_refused),
	  T(opens_into_memory_that_is_wiped_and_with_a_whole_key), T(failing_allocations_leave_nothing),
	  T(mutated_envelopes_do_no_harm))
