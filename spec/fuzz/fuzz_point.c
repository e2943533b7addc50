/* P-384 public keys, as SubjectPublicKeyInfo or point: every form of an accepted key is the same point. */
#include "lib/fuzz.h"
#include "material.h"

const unsigned fuzz_kinds = 1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t point97[97], again97[97], der120[120];
	char hex[240];
	fuzz_start();
	if (kms_p384_point_parse(point97, kms_span_of(data, size)) != KMS_OK) {
		HOLDS(point97[0] == 0);
		/* Hexadecimal as it stands. */
		if (kms_p384_point_from_hex(point97, kms_text_of((const char *)data, size)) != KMS_OK)
			return 0;
	}
	fuzz_accept(0);
	kms_p384_der(der120, point97);
	HOLDS_OK(kms_p384_point_parse(again97, KMS_SPAN(der120)));
	HOLDS(memcmp(point97, again97, 97) == 0);
	kms_hex_encode(hex, KMS_SPAN(der120));
	HOLDS_OK(kms_p384_point_from_hex(again97, kms_text_of(hex, sizeof(hex))));
	HOLDS(memcmp(point97, again97, 97) == 0);
	return 0;
}

void fuzz_seeds(void)
{
	uint8_t der120[120];
	char hex[240];
	kms_p384 *key = hex_p384("0102030405");
	fuzz_seed(kms_span_of(kms_p384_public(key), KMS_P384_POINT));
	kms_p384_der(der120, kms_p384_public(key));
	fuzz_seed(KMS_SPAN(der120));
	kms_hex_encode(hex, KMS_SPAN(der120));
	fuzz_seed(KMS_SPAN(hex));
	kms_p384_free(key);
}
