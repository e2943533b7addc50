/* UTF-8 (RFC 3629), decimal numbers and the order of texts. */
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/codec.h"

/* Length of the sequence that starts at `at`, 0 when it is not valid (RFC 3629 section 4). */
static size_t utf8_sequence(const uint8_t *at, size_t left)
{
	uint8_t lead = at[0];
	uint8_t low = 0x80, high = 0xbf; /* of the second byte */
	size_t len = 2;
	if (lead < 0x80) return 1;
	if (lead < 0xc2 || lead > 0xf4) return 0;
	if (lead >= 0xe0) len = 3;
	if (lead >= 0xf0) len = 4;
	if (lead == 0xe0) low = 0xa0;  /* overlong */
	if (lead == 0xed) high = 0x9f; /* surrogates */
	if (lead == 0xf0) low = 0x90;  /* overlong */
	if (lead == 0xf4) high = 0x8f; /* above U+10FFFF */
	if (left < len || at[1] < low || at[1] > high) return 0;
	for (size_t i = 2; i < len; i++)
		if ((at[i] & 0xc0) != 0x80) return 0;
	return len;
}

bool kms_utf8_valid(kms_text text)
{
	const uint8_t *at = (const uint8_t *)text.text;
	size_t len = text.len;
	while (len) {
		if (len >= 8 && (kms_load64_le(at) & KMS_LANES(0x80)) == 0) {
			at += 8;
			len -= 8;
			continue;
		}
		size_t taken = utf8_sequence(at, len);
		if (taken == 0) return false;
		at += taken;
		len -= taken;
	}
	return true;
}

kms_status kms_decimal_parse(uint64_t *number, kms_text text)
{
	ENSURE_REF(number);
	*number = 0;
	ENSURE_REF(text.text);
	ENSURE(text.len >= 1 && text.len <= KMS_DECIMAL_MAX, KMS_ERR_RANGE);
	uint64_t value = 0;
	for (size_t i = 0; i < text.len; i++) {
		char digit = text.text[i];
		ENSURE(digit >= '0' && digit <= '9', KMS_ERR_RANGE);
		ENSURE(KMS_MUL(&value, value, 10u), KMS_ERR_RANGE);
		ENSURE(KMS_ADD(&value, value, (uint64_t)(digit - '0')), KMS_ERR_RANGE);
	}
	*number = value;
	return KMS_OK;
}

kms_status kms_app_id_parse(uint64_t *app_id, kms_text text)
{
	ENSURE_REF(app_id);
	*app_id = 0;
	ENSURE_REF(text.text);
	ENSURE(text.len >= 1 && text.text[0] != '0', KMS_ERR_RANGE);
	return kms_decimal_parse(app_id, text);
}

int kms_text_compare(kms_text a, kms_text b)
{
	size_t shorter = a.len < b.len ? a.len : b.len;
	int order = shorter ? memcmp(a.text, b.text, shorter) : 0;
	return order ? order : (a.len > b.len) - (a.len < b.len);
}
