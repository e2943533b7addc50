/* Hexadecimal, decimal and UTF-8 text: what is accepted is what the encoder writes. */
#include <ctype.h>

#include "kms/codec.h"
#include "kms/json.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 2;

static void check_hex(kms_text text)
{
	char again[FUZZ_MAX_INPUT * 2];
	uint8_t bytes[FUZZ_MAX_INPUT];
	size_t len = kms_hex_strip(text).len / 2;
	kms_text digits = kms_hex_strip(text);
	if (kms_hex_decode(kms_out_of(bytes, len), text) != KMS_OK) return;
	HOLDS(digits.len == 2 * len);
	if (len) fuzz_accept(0);
	kms_hex_encode(again, kms_span_of(bytes, len));
	for (size_t i = 0; i < digits.len; i++)
		HOLDS(again[i] == tolower((unsigned char)digits.text[i]));
	kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, kms_text_span(digits));
	size_t count;
	HOLDS_OK(kms_hex_decode_in_place(&count, copy.data ? (char *)copy.data : "", copy.len));
	HOLDS(count == len && (len == 0 || memcmp(copy.data, bytes, len) == 0));
	kms_buf_free(&copy);
}

static void check_numbers(kms_text text)
{
	char digits[KMS_DECIMAL_MAX];
	uint64_t number, app_id;
	bool decimal = kms_decimal_parse(&number, text) == KMS_OK;
	if (kms_app_id_parse(&app_id, text) == KMS_OK) {
		fuzz_accept(1);
		HOLDS(decimal && app_id == number && app_id > 0);
		HOLDS(kms_text_compare(kms_decimal_format(digits, app_id), text) == 0);
	} else if (decimal && number > 0) {
		HOLDS(text.text[0] == '0');
	}
}

static void check_utf8(kms_text text)
{
	kms_buf json = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	kms_status status = kms_buf_append_json(&json, text);
	HOLDS((status == KMS_OK) == kms_utf8_valid(text));
	if (status == KMS_OK) HOLDS(json.len == kms_json_text_size(text));
	kms_buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > FUZZ_MAX_INPUT) return 0;
	kms_text text = kms_text_of((const char *)data, size);
	check_hex(text);
	check_numbers(text);
	check_utf8(text);
	return 0;
}

void fuzz_seeds(void)
{
	FUZZ_SEED("");
	FUZZ_SEED("0x00ffAB7d");
	FUZZ_SEED("0X");
	FUZZ_SEED("abc");
	FUZZ_SEED("18446744073709551615");
	FUZZ_SEED("007");
	FUZZ_SEED("na\xc3\xafve \xf0\x9f\x94\x91 \x01\"\\");
	FUZZ_SEED("\xed\xa0\x80");
}
