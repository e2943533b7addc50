/* Signatures and addresses as text: what is accepted is written in one way only; a wallet is recovered from
 * it, or it is refused. */
#include "kms/eth_text.h"
#include "kms/wallet.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 2;

static void check_signature(kms_text text)
{
	uint8_t sig65[65], again65[65], wallet20[20];
	char text132[KMS_SIGNATURE_TEXT], second132[KMS_SIGNATURE_TEXT];
	if (kms_signature_parse(sig65, text) != KMS_OK) {
		for (size_t i = 0; i < sizeof(sig65); i++)
			HOLDS(sig65[i] == 0);
		return;
	}
	fuzz_accept(0);
	HOLDS(sig65[64] <= 1);
	kms_signature_format(text132, sig65);
	HOLDS_OK(kms_signature_parse(again65, kms_text_of(text132, sizeof(text132))));
	HOLDS(memcmp(sig65, again65, sizeof(sig65)) == 0);
	kms_signature_format(second132, again65);
	HOLDS(memcmp(text132, second132, sizeof(text132)) == 0);
	kms_status status = kms_message_recover(wallet20, KMS_BYTES("message"), sig65);
	HOLDS(status == KMS_OK || status == KMS_ERR_SIGNATURE);
}

static void check_address(kms_text text)
{
	uint8_t address20[20], again20[20];
	char text42[KMS_ADDRESS_TEXT];
	if (kms_address_parse(address20, text) != KMS_OK) return;
	fuzz_accept(1);
	kms_address_format(text42, address20);
	HOLDS_OK(kms_address_parse(again20, kms_text_of(text42, sizeof(text42))));
	HOLDS(memcmp(address20, again20, sizeof(address20)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_start();
	check_signature(kms_text_of((const char *)data, size));
	check_address(kms_text_of((const char *)data, size));
	return 0;
}

#define ONES "1111111111111111111111111111111111111111111111111111111111111111"
#define HALF "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
#define ABOVE_HALF "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1"
#define ORDER "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"

void fuzz_seeds(void)
{
	FUZZ_SEED("0x" ONES ONES "1b");
	FUZZ_SEED(ONES HALF "01");
	FUZZ_SEED("0x" ONES ABOVE_HALF "1c");
	FUZZ_SEED("0x" ORDER ONES "00");
	FUZZ_SEED("0x00112233445566778899aAbBcCdDeEfF00112233");
}
