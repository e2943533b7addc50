/* Hexadecimal, base64, UTF-8, decimal. */
#include "kms/codec.h"
#include "test.h"

TEST(hex_decodes_every_byte_in_any_case)
{
	for (unsigned i = 0; i < 256; i++) {
		char text[8];
		uint8_t byte = 0;
		snprintf(text, sizeof(text), "%02x", i);
		CHECK_OK(kms_hex_decode(kms_out_of(&byte, 1), kms_text_of(text, 2)));
		CHECK(byte == i);
		snprintf(text, sizeof(text), "0X%02X", i);
		CHECK_OK(kms_hex_decode(kms_out_of(&byte, 1), kms_text_of(text, 4)));
		CHECK(byte == i);
	}
}

/* Every other byte in every position of the word that is worked on, and in the tail. */
TEST(hex_refuses_every_wrong_digit)
{
	uint8_t bytes[7];
	for (unsigned at = 0; at < 14; at++) {
		for (unsigned c = 0; c < 256; c++) {
			char text[14];
			memset(text, '5', sizeof(text));
			text[at] = (char)c;
			bool digit = c != 0 && strchr("0123456789abcdefABCDEF", (int)c);
			memset(bytes, 0xee, sizeof(bytes));
			CHECK_STATUS(digit ? KMS_OK : KMS_ERR_HEX,
				     kms_hex_decode(kms_out_of(bytes, 7), kms_text_of(text, 14)));
			for (size_t i = 0; i < sizeof(bytes) && !digit; i++)
				CHECK(bytes[i] == 0);
		}
	}
}

TEST(hex_length_is_exact)
{
	uint8_t bytes[4];
	CHECK_STATUS(KMS_ERR_HEX, kms_hex_decode(kms_out_of(bytes, 4), KMS_TEXT("0011223")));
	CHECK_STATUS(KMS_ERR_HEX, kms_hex_decode(kms_out_of(bytes, 4), KMS_TEXT("001122334")));
	CHECK_STATUS(KMS_ERR_HEX, kms_hex_decode(kms_out_of(bytes, 4), KMS_TEXT("001122")));
	CHECK_STATUS(KMS_ERR_HEX, kms_hex_decode(kms_out_of(bytes, 4), KMS_TEXT("0011223344")));
	CHECK_STATUS(KMS_ERR_HEX, kms_hex_decode(kms_out_of(bytes, 1), KMS_TEXT("0x")));
	CHECK_STATUS(KMS_ERR_HEX, kms_hex_decode(kms_out_of(bytes, 1), KMS_TEXT("0x0x")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hex_decode(kms_out_of(bytes, 4), kms_text_of(NULL, 8)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hex_decode(kms_out_of(NULL, 4), KMS_TEXT("00112233")));
	CHECK_OK(kms_hex_decode(kms_out_of(NULL, 0), KMS_TEXT("")));
	CHECK_OK(kms_hex_decode(kms_out_of(NULL, 0), KMS_TEXT("0x")));
}

TEST(hex_round_trip_of_all_lengths)
{
	uint8_t bytes[41], back[41];
	char text[83];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 97 + 11);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		memset(text, '#', sizeof(text));
		kms_hex_encode(text, kms_span_of(bytes, len));
		CHECK(text[2 * len] == '#');
		for (size_t i = 0; i < len; i++) {
			char want[3];
			snprintf(want, sizeof(want), "%02x", bytes[i]);
			CHECK_MEM(want, text + 2 * i, 2);
		}
		CHECK_OK(kms_hex_decode(kms_out_of(back, len), kms_text_of(text, 2 * len)));
		CHECK_MEM(back, bytes, len);
	}
}

/* RFC 4648 section 10. */
TEST(hex_is_decoded_where_it_stands)
{
	uint8_t bytes[64], want[64];
	char text[2 + 128];
	size_t decoded;
	for (size_t i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(i * 37 + 11);
	for (size_t len = 0; len <= sizeof(want); len++) {
		for (size_t prefix = 0; prefix <= 2; prefix += 2) {
			memcpy(text, "0x", 2);
			kms_hex_encode(text + prefix, kms_span_of(want, len));
			CHECK_OK(kms_hex_decode_in_place(&decoded, text, prefix + 2 * len));
			CHECK(decoded == len);
			CHECK_MEM(text, want, len);
		}
	}
	CHECK_STATUS(KMS_ERR_HEX, kms_hex_decode_in_place(&decoded, memcpy(text, "012", 3), 3));
	CHECK_STATUS(KMS_ERR_HEX, kms_hex_decode_in_place(&decoded, memcpy(text, "0x1", 3), 3));
	for (size_t i = 0; i < 20; i++) {
		memset(text, '7', 20);
		text[i] = 'g';
		CHECK_STATUS(KMS_ERR_HEX, kms_hex_decode_in_place(&decoded, text, 20));
		CHECK(decoded == 0);
	}
	CHECK_OK(kms_hex_decode_in_place(&decoded, NULL, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hex_decode_in_place(&decoded, NULL, 2));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hex_decode_in_place(NULL, text, 2));
	CHECK_OK(kms_hex_decode(kms_out_of(bytes, 1), KMS_TEXT("7f")));
	CHECK(bytes[0] == 0x7f);
}

TEST(base64_known_answers)
{
	static const char *const pairs[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xfb\xff\xbf\xfb\xff\xbf\xfb", "+/+/+/+/+w==" },
	};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		uint8_t bytes[16];
		char text[16];
		size_t len, plain = strlen(pairs[i][0]), coded = strlen(pairs[i][1]);
		CHECK(kms_base64_encode(text, kms_span_of(pairs[i][0], plain)) == coded);
		CHECK_MEM(text, pairs[i][1], coded);
		CHECK_OK(kms_base64_decode(bytes, &len, kms_text_of(pairs[i][1], coded)));
		CHECK(len == plain);
		CHECK_MEM(bytes, pairs[i][0], len);
	}
}

TEST(base64_round_trip_in_place)
{
	uint8_t bytes[100];
	char text[140];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 61 + 7);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		size_t back;
		memset(text, '#', sizeof(text));
		size_t written = kms_base64_encode(text, kms_span_of(bytes, len));
		CHECK(written == (len + 2) / 3 * 4 && text[written] == '#');
		CHECK(kms_base64_bound(written) >= len);
		CHECK_OK(kms_base64_decode((uint8_t *)text, &back, kms_text_of(text, written)));
		CHECK(back == len);
		CHECK_MEM(text, bytes, len);
	}
}

/* Each character in each position of three vectors, against the alphabet written out. */
TEST(base64_refuses_every_wrong_character)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t bytes[36];
	for (unsigned at = 0; at < 48; at++) {
		for (unsigned c = 0; c < 256; c++) {
			char text[48];
			size_t len;
			memset(text, 'A', sizeof(text));
			text[at] = (char)c;
			const char *found = c ? strchr(alphabet, (int)c) : NULL;
			if (c == '=' && at == 47) continue;
			memset(bytes, 0xee, sizeof(bytes));
			CHECK_STATUS(found ? KMS_OK : KMS_ERR_BASE64,
				     kms_base64_decode(bytes, &len, kms_text_of(text, 48)));
			CHECK(len == (found ? 36u : 0u));
			unsigned value = found ? (unsigned)(found - alphabet) : 0;
			unsigned shifted = value << (18 - at % 4 * 6);
			const uint8_t *triple = bytes + at / 4 * 3;
			CHECK((unsigned)(triple[0] << 16 | triple[1] << 8 | triple[2]) == shifted);
		}
	}
}

TEST(base64_refuses_what_is_not_canonical)
{
	static const char *const wrong[] = {
		"Z",         "Zg",           "Zg=",       "Zm8",          "Zh==",   "Zm9=",
		"====",      "Z===",         "=Zg=",      "Zg==Zg==",     "Zg==\n", "Zm 9v",
		"Zm9v\n",    "Zm9v====",     "-_-_",      "Zm9vZg==Zm9v", "Z=g=",   "Zm=v",
		"Zm9vYmFyZ", "Zm9vYmFyZh==", "Zm9vYg==A", "Zm9vYmF=",
	};
	uint8_t bytes[16];
	size_t len;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_STATUS(KMS_ERR_BASE64, kms_base64_decode(bytes, &len, kms_text_from(wrong[i])));
	/* A text too short for a byte needs no room, and is wrong all the same. */
	CHECK_STATUS(KMS_ERR_BASE64, kms_base64_decode(NULL, &len, KMS_TEXT("Y1H")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_base64_decode(NULL, &len, KMS_TEXT("Zm9v")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_base64_decode(bytes, NULL, KMS_TEXT("Zm9v")));
}

/* The table of RFC 3629 section 4, at each edge. */
TEST(utf8_edges)
{
	static const char *const good[] = { "",
					    "a",
					    "\x7f",
					    "\xc2\x80",
					    "\xdf\xbf",
					    "\xe0\xa0\x80",
					    "\xed\x9f\xbf",
					    "\xee\x80\x80",
					    "\xef\xbf\xbf",
					    "\xf0\x90\x80\x80",
					    "\xf4\x8f\xbf\xbf",
					    ("12345678\xc3\xa4"
					     "12345678") };
	static const char *const bad[] = { "\x80",
					   "\xbf",
					   "\xc0\x80",
					   "\xc1\xbf",
					   "\xc2",
					   "\xc2\x7f",
					   "\xc2\xc0",
					   "\xe0\x9f\xbf",
					   "\xe1\x80",
					   "\xe1\x80\xc0",
					   "\xed\xa0\x80",
					   "\xed\xbf\xbf",
					   "\xf0\x8f\xbf\xbf",
					   "\xf1\x80\x80",
					   "\xf1\x80\x80\x7f",
					   "\xf4\x90\x80\x80",
					   "\xf5\x80\x80\x80",
					   "\xff",
					   "1234567\xc3",
					   "12345678\xed\xa0\x80" };
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK(kms_utf8_valid(kms_text_from(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!kms_utf8_valid(kms_text_from(bad[i])));
	CHECK(kms_utf8_valid(KMS_TEXT("\0")));
	CHECK(kms_utf8_valid(KMS_NO_TEXT));
}

TEST(decimal_limits)
{
	uint64_t n;
	CHECK_OK(kms_decimal_parse(&n, KMS_TEXT("18446744073709551615")));
	CHECK(n == UINT64_MAX);
	CHECK_OK(kms_decimal_parse(&n, KMS_TEXT("00000000000000000007")));
	CHECK(n == 7);
	CHECK_STATUS(KMS_ERR_RANGE, kms_decimal_parse(&n, KMS_TEXT("18446744073709551616")));
	CHECK(n == 0);
	CHECK_STATUS(KMS_ERR_RANGE, kms_decimal_parse(&n, KMS_TEXT("99999999999999999999")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_decimal_parse(&n, KMS_TEXT("000000000000000000001")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_decimal_parse(&n, KMS_TEXT("")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_decimal_parse(&n, KMS_TEXT("+1")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_decimal_parse(&n, KMS_TEXT("-1")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_decimal_parse(&n, KMS_TEXT("1 ")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_decimal_parse(&n, KMS_TEXT("0x1")));
}

TEST(app_id_limits)
{
	uint64_t n;
	CHECK_OK(kms_app_id_parse(&n, KMS_TEXT("1")));
	CHECK(n == 1);
	CHECK_OK(kms_app_id_parse(&n, KMS_TEXT("18446744073709551615")));
	CHECK(n == UINT64_MAX);
	CHECK_STATUS(KMS_ERR_RANGE, kms_app_id_parse(&n, KMS_TEXT("18446744073709551616")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_app_id_parse(&n, KMS_TEXT("0")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_app_id_parse(&n, KMS_TEXT("01")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_app_id_parse(&n, KMS_TEXT("")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_app_id_parse(&n, KMS_TEXT("a")));
}

TEST(secrets_from_hex)
{
	kms_secret *a = NULL;
	CHECK_OK(kms_secret_from_hex(&a, KMS_TEXT("0x00FFa5"), 3));
	CHECK_MEM(kms_secret_bytes(a), "\x00\xff\xa5", 3);
	kms_secret_unref(a);
	CHECK_STATUS(KMS_ERR_HEX, kms_secret_from_hex(&a, KMS_TEXT("00ffa"), 3));
	CHECK_STATUS(KMS_ERR_HEX, kms_secret_from_hex(&a, KMS_TEXT("00ffa5"), 2));
	CHECK_STATUS(KMS_ERR_HEX, kms_secret_from_hex(&a, KMS_TEXT("00ffag"), 3));
	CHECK_STATUS(KMS_ERR_RANGE, kms_secret_from_hex(&a, KMS_TEXT(""), 0));
	CHECK(!a);
}

static bool is_text(const kms_buf *buf, const char *text)
{
	return buf->len == strlen(text) && memcmp(buf->data, text, buf->len) == 0;
}

TEST(appends_numbers_hex_base64)
{
	kms_buf buf = kms_buf_make(KMS_BUF_PLAIN, 1000);
	CHECK_OK(kms_buf_append_u64(&buf, 0));
	CHECK_OK(kms_buf_append_text(&buf, " "));
	CHECK_OK(kms_buf_append_u64(&buf, UINT64_MAX));
	CHECK(is_text(&buf, "0 18446744073709551615"));
	kms_buf_clear(&buf);
	CHECK_OK(kms_buf_append_hex(&buf, KMS_BYTES("\x00\xab\xff")));
	CHECK_OK(kms_buf_append_hex(&buf, KMS_NO_BYTES));
	CHECK_OK(kms_buf_append_base64(&buf, KMS_BYTES("foob")));
	CHECK_OK(kms_buf_append_base64(&buf, KMS_NO_BYTES));
	CHECK(is_text(&buf, "00abffZm9vYg=="));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buf_append_hex(&buf, kms_span_of(NULL, 1)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buf_append_base64(&buf, kms_span_of(NULL, 1)));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_buf_append_hex(&buf, kms_span_of(buf.data, SIZE_MAX / 2 + 1)));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_buf_append_base64(&buf, kms_span_of(buf.data, SIZE_MAX)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buf_append_text(&buf, NULL));
	CHECK(buf.len == 14);
	kms_buf_free(&buf);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(hex_decodes_every_byte_in_any_case), T(hex_refuses_every_wrong_digit),
	  T(hex_length_is_exact), T(hex_round_trip_of_all_lengths), T(hex_is_decoded_where_it_stands),
	  T(base64_known_answers), T(base64_round_trip_in_place), T(base64_refuses_every_wrong_character),
	  T(base64_refuses_what_is_not_canonical), T(utf8_edges), T(decimal_limits), T(app_id_limits),
	  T(secrets_from_hex), T(appends_numbers_hex_base64))
