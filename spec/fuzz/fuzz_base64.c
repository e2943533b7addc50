/* Base64: what is accepted is exactly what the encoder writes. */
#include "kms/codec.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > FUZZ_MAX_INPUT) return 0;
	char again[FUZZ_MAX_INPUT + 4];
	size_t len, bound = kms_base64_bound(size);
	uint8_t *bytes = malloc(bound ? bound : 1);
	HOLDS(bytes);
	if (kms_base64_decode(bytes, &len, kms_text_of((const char *)data, size)) == KMS_OK) {
		if (len) fuzz_accept(0);
		HOLDS(len <= bound);
		HOLDS(kms_base64_encode(again, kms_span_of(bytes, len)) == size);
		HOLDS(size == 0 || memcmp(again, data, size) == 0);
	} else {
		HOLDS(len == 0);
	}
	free(bytes);
	return 0;
}

void fuzz_seeds(void)
{
	FUZZ_SEED("");
	FUZZ_SEED("Zg==");
	FUZZ_SEED("Zh==");
	FUZZ_SEED("Zm8=");
	FUZZ_SEED("Zm9v");
	FUZZ_SEED("Zm9v\n");
	FUZZ_SEED("-_-_");
	FUZZ_SEED("+/+/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
}
