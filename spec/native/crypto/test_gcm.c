/* AES-256-GCM, in binary and in hexadecimal. */
#include "base/testing.h"
#include "kms/codec.h"
#include "test.h"

static const uint8_t zero_key[32];
static const uint8_t zero_iv[KMS_GCM_IV];

static uint8_t storage[512];

static const uint8_t *unhex(const char *text)
{
	if (kms_hex_decode(kms_out_of(storage, strlen(text) / 2), kms_text_from(text)) != KMS_OK) abort();
	return storage;
}

/* The GCM specification (McGrew and Viega), test cases 13 and 15: AES-256 without AAD. */
TEST(known_answers)
{
	uint8_t sealed[80], plain[64], key[32], iv[12], message[64];
	CHECK_OK(kms_gcm_seal(sealed, zero_key, zero_iv, KMS_NO_BYTES));
	CHECK_MEM(sealed, unhex("530f8afbc74536b9a963b4f1c4cb738b"), 16);
	CHECK_OK(kms_gcm_open(NULL, zero_key, zero_iv, kms_span_of(sealed, 16)));
	memcpy(key, unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"), 32);
	memcpy(iv, unhex("cafebabefacedbaddecaf888"), 12);
	memcpy(message,
	       unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
		     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"),
	       64);
	CHECK_OK(kms_gcm_seal(sealed, key, iv, kms_span_of(message, 64)));
	CHECK_MEM(sealed,
		  unhex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
			"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
			"b094dac5d93471bdec1a502270e3cc6c"),
		  80);
	CHECK_OK(kms_gcm_open(plain, key, iv, kms_span_of(sealed, 80)));
	CHECK_MEM(plain, message, 64);
}

/* The same specification, test case 16: AES-256 with AAD. */
TEST(in_place_with_additional_data)
{
	uint8_t key[32], iv[12], aad[20], tag[16], message[60], text[60];
	memcpy(key, unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"), 32);
	memcpy(iv, unhex("cafebabefacedbaddecaf888"), 12);
	memcpy(aad, unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"), 20);
	memcpy(message,
	       unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
		     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"),
	       60);
	memcpy(text, message, 60);
	CHECK_OK(kms_gcm_seal_in_place(tag, KMS_OUT(text), key, iv, KMS_SPAN(aad)));
	CHECK_MEM(text,
		  unhex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
			"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"),
		  60);
	CHECK_MEM(tag, unhex("76fc6ece0f4e1768cddf8853bb2d551b"), 16);
	CHECK_OK(kms_gcm_open_in_place(KMS_OUT(text), key, iv, KMS_SPAN(aad), tag));
	CHECK_MEM(text, message, 60);
	/* Nothing but additional data. */
	CHECK_OK(kms_gcm_seal_in_place(tag, kms_out_of(NULL, 0), key, iv, KMS_SPAN(aad)));
	CHECK_OK(kms_gcm_open_in_place(kms_out_of(NULL, 0), key, iv, KMS_SPAN(aad), tag));
	aad[19] ^= 1;
	CHECK_STATUS(KMS_ERR_DECRYPT,
		     kms_gcm_open_in_place(kms_out_of(NULL, 0), key, iv, KMS_SPAN(aad), tag));
}

TEST(in_place_refusals_leave_zeros)
{
	static const uint8_t zeros[40];
	uint8_t aad[3] = { 1, 2, 3 }, tag[16], sealed[40] = { 7 }, text[40];
	CHECK_OK(kms_gcm_seal_in_place(tag, KMS_OUT(sealed), zero_key, zero_iv, KMS_SPAN(aad)));
	for (size_t i = 0; i < 8 * (sizeof(aad) + sizeof(tag) + sizeof(sealed)); i++) {
		size_t at = i / 8;
		uint8_t bit = (uint8_t)(1u << i % 8), *byte = at < 3    ? &aad[at]
							      : at < 19 ? &tag[at - 3]
									: NULL;
		memcpy(text, sealed, sizeof(text));
		if (byte) *byte ^= bit;
		if (!byte) text[at - 19] ^= bit;
		CHECK_STATUS(KMS_ERR_DECRYPT,
			     kms_gcm_open_in_place(KMS_OUT(text), zero_key, zero_iv, KMS_SPAN(aad), tag));
		CHECK_MEM(text, zeros, sizeof(zeros));
		if (byte) *byte ^= bit;
	}
	memset(text, 1, sizeof(text));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_gcm_open_in_place(KMS_OUT(text), NULL, zero_iv, KMS_SPAN(aad), tag));
	CHECK_MEM(text, zeros, sizeof(zeros));
	memset(text, 1, sizeof(text));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_gcm_seal_in_place(tag, KMS_OUT(text), zero_key, NULL, KMS_SPAN(aad)));
	CHECK_MEM(text, zeros, sizeof(zeros));
	CHECK_MEM(tag, zeros, sizeof(tag));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_gcm_seal_in_place(tag, KMS_OUT(text), zero_key, zero_iv, kms_span_of(NULL, 1)));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_gcm_open_in_place(KMS_OUT(text), zero_key, zero_iv, KMS_SPAN(aad), NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_gcm_seal_in_place(NULL, KMS_OUT(text), zero_key, zero_iv, KMS_SPAN(aad)));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_gcm_seal_in_place(tag, kms_out_of(NULL, 1), zero_key, zero_iv, KMS_SPAN(aad)));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_gcm_open_in_place(kms_out_of(NULL, 1), zero_key, zero_iv, KMS_SPAN(aad), tag));
}

TEST(any_changed_bit_is_refused)
{
	uint8_t sealed[40], plain[24], message[24], key[32] = { 1 }, iv[12] = { 2 };
	static const uint8_t zero[24];
	memset(message, 0x3c, sizeof(message));
	CHECK_OK(kms_gcm_seal(sealed, key, iv, kms_span_of(message, 24)));
	for (size_t bit = 0; bit < sizeof(sealed) * 8; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		memset(plain, 0xee, sizeof(plain));
		CHECK_STATUS(KMS_ERR_DECRYPT, kms_gcm_open(plain, key, iv, kms_span_of(sealed, 40)));
		CHECK_MEM(plain, zero, 24);
		sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CHECK_OK(kms_gcm_open(plain, key, iv, kms_span_of(sealed, 40)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_gcm_open(plain, key, iv, kms_span_of(sealed, 39)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_gcm_open(plain, key, zero_iv, kms_span_of(sealed, 40)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_gcm_open(plain, zero_key, iv, kms_span_of(sealed, 40)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_gcm_open(plain, key, iv, kms_span_of(sealed, 15)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_gcm_open(plain, key, iv, kms_span_of(sealed, 0)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_gcm_open(plain, NULL, iv, kms_span_of(sealed, 40)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_gcm_open(NULL, key, iv, kms_span_of(sealed, 40)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_gcm_seal(sealed, key, iv, kms_span_of(NULL, 24)));
	CHECK_STATUS(KMS_ERR_RANGE, kms_gcm_seal(sealed, key, iv, kms_span_of(message, SIZE_MAX)));
}

/* Lengths around the pieces that the hex variants work in, against the binary ones. */
TEST(hex_is_the_same_as_binary)
{
	enum { MAX = 12289 };
	static const size_t lengths[] = { 0, 1, 15, 16, 17, 4095, 4096, 4097, 8192, MAX };
	static uint8_t message[MAX], sealed[MAX + 16];
	static char digits[2 * (MAX + 16)];
	uint8_t key[32] = { 9 }, iv[12] = { 8 };
	for (size_t i = 0; i < MAX; i++)
		message[i] = (uint8_t)(i * 13);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t len = lengths[i];
		kms_buf hex = kms_buf_make(KMS_BUF_PLAIN, 1 << 20),
			plain = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
		CHECK_OK(kms_buf_append_text(&hex, "front"));
		CHECK_OK(kms_buf_append_text(&plain, "front"));
		CHECK_OK(kms_gcm_seal(sealed, key, iv, kms_span_of(message, len)));
		kms_hex_encode(digits, kms_span_of(sealed, len + 16));
		CHECK_OK(kms_gcm_seal_hex(&hex, key, iv, kms_span_of(message, len)));
		CHECK(hex.len == 5 + 2 * (len + 16));
		CHECK_MEM(hex.data, "front", 5);
		CHECK_MEM(hex.data + 5, digits, 2 * (len + 16));
		CHECK_OK(kms_gcm_open_hex(&plain, key, iv, kms_text_of(digits, 2 * (len + 16))));
		CHECK(plain.len == 5 + len);
		CHECK_MEM(plain.data, "front", 5);
		CHECK_MEM(plain.data + 5, message, len);
		kms_buf_free(&hex);
		kms_buf_free(&plain);
	}
}

TEST(hex_refusals_leave_the_buffer_as_it_was)
{
	static const uint8_t zero[32];
	uint8_t message[32];
	char digits[96];
	kms_buf hex = kms_buf_make(KMS_BUF_PLAIN, 96), plain = kms_buf_make(KMS_BUF_GUARDED, 34);
	memset(message, 0x77, sizeof(message));
	CHECK_OK(kms_gcm_seal_hex(&hex, zero_key, zero_iv, kms_span_of(message, 32)));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_gcm_seal_hex(&hex, zero_key, zero_iv, KMS_NO_BYTES));
	CHECK(hex.len == 96);
	memcpy(digits, hex.data, 96);
	CHECK_OK(kms_buf_append_text(&plain, "ab"));
	CHECK_STATUS(KMS_ERR_HEX, kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_text_of(digits, 95)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_text_of(digits, 94)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_text_of(digits, 30)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_text_of(digits, 0)));
	for (size_t at = 0; at < 96; at += 5) {
		char kept = digits[at];
		digits[at] = kept == 'f' ? 'e' : 'f';
		CHECK_STATUS(KMS_ERR_DECRYPT,
			     kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_text_of(digits, 96)));
		CHECK(plain.len == 2);
		CHECK_MEM(plain.data, "ab", 2);
		CHECK_MEM(plain.data + 2, zero, 32);
		digits[at] = 'x';
		CHECK_STATUS(KMS_ERR_HEX,
			     kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_text_of(digits, 96)));
		CHECK(plain.len == 2);
		CHECK_MEM(plain.data + 2, zero, 32);
		digits[at] = kept;
	}
	digits[0] = '0', digits[1] = 'x'; /* no prefix here: it would shift every digit */
	CHECK_STATUS(KMS_ERR_HEX, kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_text_of(digits, 96)));
	kms_buf_free(&hex);
	kms_buf_free(&plain);
}

TEST(one_below_the_room_that_is_needed)
{
	uint8_t message[10] = { 0 };
	kms_buf hex = kms_buf_make(KMS_BUF_PLAIN, 51), plain = kms_buf_make(KMS_BUF_GUARDED, 9);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_gcm_seal_hex(&hex, zero_key, zero_iv, kms_span_of(message, 10)));
	hex.max = 52;
	CHECK_OK(kms_gcm_seal_hex(&hex, zero_key, zero_iv, kms_span_of(message, 10)));
	const char *digits = (const char *)hex.data;
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_text_of(digits, 52)));
	plain.max = 10;
	CHECK_OK(kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_text_of(digits, 52)));
	kms_buf_free(&hex);
	kms_buf_free(&plain);
}

TEST(refused_allocations)
{
	uint8_t message[100] = { 5 }, opened[100], sealed[116];
	size_t before = 0;
	unsigned long n = 1, failures = 0;
	CHECK_OK(kms_gcm_seal(sealed, zero_key, zero_iv, kms_span_of(message, 100)));
	for (bool reached = true; reached; n++) {
		kms_buf hex = kms_buf_make(KMS_BUF_PLAIN, 1000), plain = kms_buf_make(KMS_BUF_GUARDED, 1000);
		kms_mem_fail_after(n);
		memset(opened, 0xee, sizeof(opened));
		kms_status status = kms_gcm_open(opened, zero_key, zero_iv, kms_span_of(sealed, 116));
		CHECK(status == KMS_OK || opened[0] == 0);
		if (status == KMS_OK)
			status = kms_gcm_seal_hex(&hex, zero_key, zero_iv, kms_span_of(message, 100));
		if (status == KMS_OK)
			status = kms_gcm_open_hex(&plain, zero_key, zero_iv, kms_buf_text(&hex));
		reached = kms_mem_allocations() >= n;
		kms_mem_fail_after(0);
		if (status != KMS_OK) failures++;
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY);
		CHECK(status == KMS_OK || plain.len == 0);
		kms_buf_free(&hex);
		kms_buf_free(&plain);
		if (!before) before = kms_guarded_used();
		CHECK(kms_guarded_used() <= before);
		CHECK(n < 100);
	}
	CHECK(failures >= 4);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(known_answers), T(in_place_with_additional_data),
	  T(in_place_refusals_leave_zeros), T(any_changed_bit_is_refused), T(hex_is_the_same_as_binary),
	  T(hex_refusals_leave_the_buffer_as_it_was), T(one_below_the_room_that_is_needed),
	  T(refused_allocations))
