/* Texts and comparisons of secrets. */
#include "check.h"
#include "kms/codec.h"
#include "taint.h"

#define KEY 32

/* Hex of a hidden secret of `len` bytes, upper or lower case, with a prefix or not. */
static void hide_hex(char text[2 + 2 * KEY], const char *digits, size_t at)
{
	memset(text, '0', 2 + 2 * KEY);
	for (size_t i = at; i < 2 + 2 * KEY; i++)
		text[i] = digits[i % strlen(digits)];
	hide(text + at, 2 + 2 * KEY - at);
}

static void decode_hex(kms_status want, const char *text, size_t text_len, size_t len)
{
	uint8_t bytes[KEY + 1];
	kms_status status = kms_hex_decode(kms_out_of(bytes, len), kms_text_of(text, text_len));
	if (status != want) exit(2);
}

static void hex_decode(void)
{
	char text[2 + 2 * KEY];
	for (size_t len = 1; len <= KEY; len++) {
		hide_hex(text, "0123456789abcdefABCDEF", 0);
		decode_hex(KMS_OK, text, 2 * len, len);
	}
	hide_hex(text, "fedcba98", 2);
	text[1] = 'x';
	decode_hex(KMS_OK, text, sizeof(text), KEY);
}

static void hex_decode_in_place(void)
{
	char text[2 + 2 * KEY];
	size_t len;
	hide_hex(text, "89abcdef0123", 0);
	MUST(kms_hex_decode_in_place(&len, text, (size_t)2 * KEY));
	hide_hex(text, "0123 ", 0);
	if (kms_hex_decode_in_place(&len, text, (size_t)2 * KEY) != KMS_ERR_HEX) exit(2);
}

static void hex_decode_bad(void)
{
	char text[2 + 2 * KEY];
	hide_hex(text, "0123x", 0);
	decode_hex(KMS_ERR_HEX, text, 2 * KEY, KEY);
	hide_hex(text, "0123\xff", 0);
	decode_hex(KMS_ERR_HEX, text, 14, 7);
}

static void secret_from_hex(void)
{
	char text[2 + 2 * KEY];
	kms_secret *secret;
	hide_hex(text, "00112233445566778899aabbccddeeff", 0);
	MUST(kms_secret_from_hex(&secret, kms_text_of(text, 2 * KEY), KEY));
	kms_secret_unref(secret);
	hide_hex(text, "g", 0);
	if (kms_secret_from_hex(&secret, kms_text_of(text, 2 * KEY), KEY) != KMS_ERR_HEX) exit(2);
}

static void hex_encode(void)
{
	char text[2 * KEY];
	kms_secret *secret = hidden_secret(KEY, 3);
	for (size_t len = 1; len <= KEY; len++)
		kms_hex_encode(text, kms_span_of(kms_secret_bytes(secret), len));
	kms_secret_unref(secret);
}

static void base64_both_ways(void)
{
	uint8_t bytes[KEY + 3];
	char text[KEY * 2];
	size_t len;
	kms_secret *secret = hidden_secret(KEY, 4);
	for (size_t i = 1; i <= KEY; i++) {
		size_t text_len = kms_base64_encode(text, kms_span_of(kms_secret_bytes(secret), i));
		MUST(kms_base64_decode(bytes, &len, kms_text_of(text, text_len)));
		if (len != i) exit(2);
	}
	hide(text, 8);
	text[3] = '*';
	hide(text, 8);
	if (kms_base64_decode(bytes, &len, kms_text_of(text, 8)) != KMS_ERR_BASE64) exit(2);
	kms_secret_unref(secret);
}

static void buffers(void)
{
	kms_secret *secret = hidden_secret(KEY, 5);
	kms_buf buf = kms_buf_make(KMS_BUF_GUARDED, 4096);
	MUST(kms_buf_append_hex(&buf, kms_span_of(kms_secret_bytes(secret), KEY)));
	MUST(kms_buf_append_base64(&buf, kms_span_of(kms_secret_bytes(secret), KEY)));
	MUST(kms_buf_append(&buf, kms_span_of(kms_secret_bytes(secret), KEY)));
	kms_buf_free(&buf);
	kms_secret_unref(secret);
}

static void equality(void)
{
	kms_secret *a = hidden_secret(KEY, 6), *same = hidden_secret(KEY, 6), *b = hidden_secret(KEY, 7);
	if (!kms_secret_equal(a, same) || kms_secret_equal(a, b)) exit(2);
	if (!kms_equal_ct(kms_secret_bytes(a), kms_secret_bytes(same), 7)) exit(2);
	kms_secret_unref(a);
	kms_secret_unref(same);
	kms_secret_unref(b);
}

static void hash(void)
{
	uint8_t digest[32];
	for (size_t len = 1; len <= 64; len += 21) {
		kms_secret *secret = hidden_secret(len, 8);
		kms_secret_keccak256(digest, secret);
		kms_secret_unref(secret);
	}
}

static void wiping(void)
{
	uint8_t *memory = kms_guarded_alloc(100);
	hide(memory, 100);
	kms_guarded_free(memory);
	kms_secret_unref(kms_secret_ref(NULL));
}

const ct_case ct_codecs[] = {
	{ "hex decoding in place", hex_decode_in_place },
	{ "hex decoding", hex_decode },
	{ "hex decoding of what is no hex", hex_decode_bad },
	{ "a secret from hex", secret_from_hex },
	{ "hex encoding", hex_encode },
	{ "base64 both ways", base64_both_ways },
	{ "buffers of secrets", buffers },
	{ "equality of secrets", equality },
	{ "keccak of a secret", hash },
	{ "wiping and freeing", wiping },
	{ NULL, NULL },
};
