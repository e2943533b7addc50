/* Nonces and the headers of a proof of possession: only an issued nonce in its one spelling is consumed,
 * once. */
#include "kms/pop.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 1;

#define NOW_S 1000

/* A nonce of this process with some bytes replaced by those of the input: pairs of position and mask. */
static void check_changed(kms_nonces *nonces, const uint8_t *data, size_t size)
{
	char issued[KMS_NONCE_TEXT], changed[KMS_NONCE_TEXT];
	HOLDS_OK(kms_nonces_issue(issued, nonces, NOW_S));
	memcpy(changed, issued, sizeof(issued));
	for (size_t i = 0; i + 1 < size; i += 2)
		changed[data[i] % KMS_NONCE_TEXT] ^= (char)data[i + 1];
	bool same = memcmp(changed, issued, sizeof(issued)) == 0;
	if (same) fuzz_accept(0);
	kms_text text = kms_text_of(changed, sizeof(changed));
	HOLDS((kms_nonces_consume(nonces, text, NOW_S) == KMS_OK) == same);
	HOLDS((kms_nonces_consume(nonces, kms_text_of(issued, sizeof(issued)), NOW_S) == KMS_OK) == !same);
	kms_status again = same ? KMS_ERR_POP_NONCE_USED : KMS_ERR_POP_NONCE;
	HOLDS(kms_nonces_consume(nonces, text, NOW_S) == again);
}

/* Header values, separated by line feeds. */
static void check_headers(kms_nonces *nonces, kms_text rest)
{
	static const uint8_t own20[20] = { 1 };
	kms_text values[4] = { KMS_NO_TEXT, KMS_NO_TEXT, KMS_NO_TEXT, KMS_NO_TEXT };
	uint8_t caller20[20];
	for (size_t i = 0; i < 4 && rest.len; i++) {
		const char *end = memchr(rest.text, '\n', rest.len);
		size_t len = end ? (size_t)(end - rest.text) : rest.len;
		values[i] = kms_text_of(rest.text, len);
		len += end != NULL;
		rest = kms_text_of(rest.text + len, rest.len - len);
	}
	kms_pop pop = { KMS_POP_APP, values[0], values[1], values[2], values[3], NULL };
	/* The nonce is no issued one, hence nothing may pass. */
	HOLDS(kms_pop_check(caller20, nonces, &pop, own20, 1700000000, NOW_S, 120) != KMS_OK);
	HOLDS(caller20[0] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static kms_nonces *nonces;
	fuzz_start();
	/* Before the nonces run out: an issuer has 2^24 of them. */
	if (kms_nonces_out(nonces, NOW_S) > KMS_NONCE_RING / 2) {
		kms_nonces_free(nonces);
		nonces = NULL;
	}
	if (!nonces) HOLDS_OK(kms_nonces_new(&nonces, 120));
	kms_text text = kms_text_of((const char *)data, size);
	/* libFuzzer watches comparisons, so it may give a nonce of this process: those are used by now. */
	HOLDS(kms_nonces_consume(nonces, text, NOW_S) != KMS_OK);
	check_changed(nonces, data, size);
	check_headers(nonces, text);
	return 0;
}

void fuzz_seeds(void)
{
	FUZZ_SEED("");
	FUZZ_SEED("AAECAwQFBgcICQoLDA0ODw==");
	FUZZ_SEED("\x15\x20");
	FUZZ_SEED("\x00\x01\x05\x80");
	FUZZ_SEED("0x11\nAAECAwQFBgcICQoLDA0ODw==\n1700000000\n0x00112233445566778899aAbBcCdDeEfF00112233");
}
