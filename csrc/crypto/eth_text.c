/* Wallet addresses and signatures as text (kms/eth_text.h). */
#include "crypto/eth_text_internal.h"

#include <string.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/eth_text.h"

/* Order of the secp256k1 group (SEC 2 section 2.4.1), and the half of it, rounded down. */
static const uint8_t group_order[32] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
	0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
};
static const uint8_t half_order[32] = {
	0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
};
static const uint8_t zero[32];

bool kms_signature_in_range(const uint8_t sig65[65])
{
	const uint8_t *r = sig65, *s = sig65 + 32;
	return memcmp(r, zero, 32) != 0 && memcmp(r, group_order, 32) < 0 && memcmp(s, zero, 32) != 0 &&
	       memcmp(s, half_order, 32) <= 0 && sig65[64] <= 1;
}

kms_status kms_signature_parse(uint8_t sig65[65], kms_text text)
{
	ENSURE_REF(sig65);
	memset(sig65, 0, 65);
	ENSURE_REF(text.text);
	uint8_t sig[65];
	ENSURE(kms_hex_decode(KMS_OUT(sig), text) == KMS_OK, KMS_ERR_SIGNATURE);
	if (sig[64] == 27 || sig[64] == 28) sig[64] -= 27;
	ENSURE(kms_signature_in_range(sig), KMS_ERR_SIGNATURE);
	memcpy(sig65, sig, sizeof(sig));
	return KMS_OK;
}

void kms_signature_format(char text132[KMS_SIGNATURE_TEXT], const uint8_t sig65[65])
{
	const uint8_t v = (uint8_t)(sig65[64] + 27);
	text132[0] = '0';
	text132[1] = 'x';
	kms_hex_encode(text132 + 2, kms_span_of(sig65, 64));
	kms_hex_encode(text132 + 130, kms_span_of(&v, 1));
}

kms_status kms_address_parse(uint8_t address20[20], kms_text text)
{
	ENSURE_REF(address20);
	memset(address20, 0, 20);
	ENSURE_REF(text.text);
	return kms_hex_decode(kms_out_of(address20, 20), text) == KMS_OK ? KMS_OK : KMS_ERR_ADDRESS;
}

void kms_address_format(char text42[KMS_ADDRESS_TEXT], const uint8_t address20[20])
{
	text42[0] = '0';
	text42[1] = 'x';
	kms_hex_encode(text42 + 2, kms_span_of(address20, 20));
}
