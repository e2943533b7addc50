/* UTF-8 (RFC 3629) and decimal numbers. */
#include "base/bits.h"
#include "base/ensure.h"
#include "kms/codec.h"

#define MAX_DECIMAL 20 /* digits of 2^64 - 1 */

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

bool kms_utf8_valid(const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text;
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

kms_status kms_decimal_parse(uint64_t *number, const char *text, size_t len)
{
	ENSURE_REF(number);
	*number = 0;
	ENSURE_REF(text);
	ENSURE(len >= 1 && len <= MAX_DECIMAL, KMS_ERR_RANGE);
	uint64_t value = 0;
	for (size_t i = 0; i < len; i++) {
		ENSURE(text[i] >= '0' && text[i] <= '9', KMS_ERR_RANGE);
		ENSURE(KMS_MUL(&value, value, 10u), KMS_ERR_RANGE);
		ENSURE(KMS_ADD(&value, value, (uint64_t)(text[i] - '0')), KMS_ERR_RANGE);
	}
	*number = value;
	return KMS_OK;
}

kms_status kms_app_id_parse(uint64_t *app_id, const char *text, size_t len)
{
	ENSURE_REF(app_id);
	*app_id = 0;
	ENSURE_REF(text);
	ENSURE(len >= 1 && text[0] != '0', KMS_ERR_RANGE);
	return kms_decimal_parse(app_id, text, len);
}
