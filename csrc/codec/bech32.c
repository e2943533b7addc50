/* Bech32 (BIP 173). Public data: tables and branches on it are fine. */
#include "codec/bech32.h"

#include <string.h>

#include "base/ensure.h"

#define BYTES 32
#define QUINTETS 52 /* of 5 bits each: 256 bits and 4 zeros */
#define CHECKSUM 6

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* One step of the checksum: the remainder modulo the generator of BIP 173. */
static uint32_t checksum_add(uint32_t sum, uint8_t value)
{
	static const uint32_t generator[] = { 0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3 };
	uint32_t top = sum >> 25;
	sum = (sum & 0x1ffffff) << 5 ^ value;
	for (unsigned i = 0; i < KMS_ARRAY_LEN(generator); i++)
		if (top >> i & 1) sum ^= generator[i];
	return sum;
}

static uint32_t checksum(kms_text prefix, const uint8_t *quintets, size_t count)
{
	uint32_t sum = 1;
	for (size_t i = 0; i < prefix.len; i++)
		sum = checksum_add(sum, (uint8_t)prefix.text[i] >> 5);
	sum = checksum_add(sum, 0);
	for (size_t i = 0; i < prefix.len; i++)
		sum = checksum_add(sum, prefix.text[i] & 31);
	for (size_t i = 0; i < count; i++)
		sum = checksum_add(sum, quintets[i]);
	return sum;
}

void kms_bech32_encode32(char *text, kms_text prefix, const uint8_t bytes32[32])
{
	uint8_t quintets[QUINTETS + CHECKSUM] = { 0 };
	for (size_t bit = 0; bit < 8 * (size_t)BYTES; bit++)
		quintets[bit / 5] |= (uint8_t)((bytes32[bit / 8] >> (7 - bit % 8) & 1) << (4 - bit % 5));
	uint32_t sum = checksum(prefix, quintets, QUINTETS + CHECKSUM) ^ 1;
	for (size_t i = 0; i < CHECKSUM; i++)
		quintets[QUINTETS + i] = sum >> 5 * (CHECKSUM - 1 - i) & 31;
	memcpy(text, prefix.text, prefix.len);
	text[prefix.len] = '1';
	for (size_t i = 0; i < sizeof(quintets); i++)
		text[prefix.len + 1 + i] = alphabet[quintets[i]];
}

static kms_status decode(uint8_t bytes32[32], kms_text prefix, kms_text text)
{
	uint8_t quintets[QUINTETS + CHECKSUM];
	const char *data = text.text + prefix.len + 1;
	ENSURE(memcmp(text.text, prefix.text, prefix.len) == 0 && data[-1] == '1', KMS_ERR_RECIPIENT);
	for (size_t i = 0; i < sizeof(quintets); i++) {
		const char *found = data[i] ? strchr(alphabet, data[i]) : NULL;
		ENSURE(found, KMS_ERR_RECIPIENT);
		quintets[i] = (uint8_t)(found - alphabet);
	}
	ENSURE(checksum(prefix, quintets, sizeof(quintets)) == 1, KMS_ERR_RECIPIENT);
	ENSURE((quintets[QUINTETS - 1] & 15) == 0, KMS_ERR_RECIPIENT);
	for (size_t bit = 0; bit < 8 * (size_t)BYTES; bit++)
		bytes32[bit / 8] |= (uint8_t)((quintets[bit / 5] >> (4 - bit % 5) & 1) << (7 - bit % 8));
	return KMS_OK;
}

kms_status kms_bech32_decode32(uint8_t bytes32[32], kms_text prefix, kms_text text)
{
	ENSURE_REF(bytes32);
	memset(bytes32, 0, BYTES);
	ENSURE(text.text && text.len == prefix.len + 1 + KMS_BECH32_DATA, KMS_ERR_RECIPIENT);
	return decode(bytes32, prefix, text);
}
