/* Addresses, signatures, the secp256k1 wallet. */
#include "base/testing.h"
#include "crypto/eth_text_internal.h"
#include "kms/codec.h"
#include "kms/eth_text.h"
#include "kms/wallet.h"
#include "test.h"

/* web3.js documentation, eth.accounts.sign. */
#define KEY "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
#define ADDRESS "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23"
#define MESSAGE "Some data"
#define DIGEST "1da44b586eb0729ff70a73c326926f6ed5a25f5b056e7f47fbc6e58d86871655"
#define R "b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd"
#define S "6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a029"

/* The order of the group less 1, itself, and the largest low s and one more (SEC 2 2.4.1, EIP-2). */
#define N_LESS_1 "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140"
#define N "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
#define HALF "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
#define HALF_PLUS_1 "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define ONE "0000000000000000000000000000000000000000000000000000000000000001"

static kms_status wallet_of(kms_wallet **wallet, const char *key)
{
	kms_secret *secret;
	kms_status status = kms_secret_from_hex(&secret, kms_text_from(key), strlen(key) / 2);
	if (status != KMS_OK) return status;
	status = kms_wallet_new(wallet, secret);
	kms_secret_unref(secret);
	return status;
}

static const uint8_t *bytes_of(const char *text)
{
	return (const uint8_t *)text;
}

TEST(published_signature)
{
	kms_wallet *wallet;
	uint8_t address[20], digest[32], want[32], sig[65], recovered[20];
	char text[KMS_SIGNATURE_TEXT], address_text[KMS_ADDRESS_TEXT];
	CHECK_OK(wallet_of(&wallet, KEY));
	kms_wallet_address(address, wallet);
	kms_address_format(address_text, address);
	CHECK_MEM(address_text, ADDRESS, KMS_ADDRESS_TEXT);
	CHECK_OK(kms_eip191_digest(digest, kms_span_of(bytes_of(MESSAGE), strlen(MESSAGE))));
	CHECK_OK(kms_hex_decode(kms_out_of(want, 32), kms_text_of(DIGEST, 64)));
	CHECK_MEM(digest, want, 32);
	CHECK_OK(kms_wallet_sign_message(sig, wallet, kms_span_of(bytes_of(MESSAGE), strlen(MESSAGE))));
	kms_signature_format(text, sig);
	CHECK_MEM(text, "0x" R S "1c", KMS_SIGNATURE_TEXT);
	CHECK_OK(kms_signature_parse(sig, kms_text_of(text, sizeof(text))));
	CHECK_OK(kms_message_recover(recovered, kms_span_of(bytes_of(MESSAGE), strlen(MESSAGE)), sig));
	CHECK_MEM(recovered, address, 20);
	kms_wallet_free(wallet);
	kms_wallet_free(NULL);
}

/* Address of the key 1: the generator point, on many public lists. */
TEST(private_key_limits)
{
	kms_wallet *wallet = NULL;
	uint8_t address[20];
	char text[KMS_ADDRESS_TEXT];
	CHECK_STATUS(KMS_ERR_PRIVATE_KEY, wallet_of(&wallet, ZERO));
	CHECK_STATUS(KMS_ERR_PRIVATE_KEY, wallet_of(&wallet, N));
	CHECK_STATUS(KMS_ERR_PRIVATE_KEY, wallet_of(&wallet, N "00"));
	CHECK_STATUS(KMS_ERR_PRIVATE_KEY, wallet_of(&wallet, "01"));
	CHECK(wallet == NULL);
	CHECK_OK(wallet_of(&wallet, N_LESS_1));
	kms_wallet_free(wallet);
	CHECK_OK(wallet_of(&wallet, ONE));
	kms_wallet_address(address, wallet);
	kms_address_format(text, address);
	CHECK_MEM(text, "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf", KMS_ADDRESS_TEXT);
	kms_wallet_free(wallet);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_wallet_new(&wallet, NULL));
}

TEST(signatures_of_other_messages_recover_to_others)
{
	kms_wallet *wallet;
	uint8_t address[20], recovered[20], sig[65];
	CHECK_OK(wallet_of(&wallet, KEY));
	kms_wallet_address(address, wallet);
	for (uint8_t i = 0; i < 100; i++) {
		uint8_t message[100];
		memset(message, i, sizeof(message));
		CHECK_OK(kms_wallet_sign_message(sig, wallet, kms_span_of(message, i)));
		CHECK(kms_signature_in_range(sig)); /* low s among the rest */
		CHECK_OK(kms_message_recover(recovered, kms_span_of(message, i), sig));
		CHECK_MEM(recovered, address, 20);
		message[i] ^= 1;
		kms_status status = kms_message_recover(recovered, kms_span_of(message, i + 1u), sig);
		CHECK(status == KMS_ERR_SIGNATURE || memcmp(recovered, address, 20) != 0);
		sig[64] ^= 1;
		message[i] ^= 1;
		status = kms_message_recover(recovered, kms_span_of(message, i), sig);
		CHECK(status == KMS_ERR_SIGNATURE || memcmp(recovered, address, 20) != 0);
	}
	kms_wallet_free(wallet);
}

TEST(signature_text_limits)
{
	static const struct {
		kms_status status;
		const char *text;
	} cases[] = {
		{ KMS_OK, R S "00" },
		{ KMS_OK, R S "01" },
		{ KMS_OK, R S "1b" },
		{ KMS_OK, "0X" R S "1C" },
		{ KMS_OK, N_LESS_1 HALF "00" },
		{ KMS_OK, ONE ONE "00" },
		{ KMS_ERR_SIGNATURE, R S "02" },
		{ KMS_ERR_SIGNATURE, R S "03" },
		{ KMS_ERR_SIGNATURE, R S "1a" },
		{ KMS_ERR_SIGNATURE, R S "1d" },
		{ KMS_ERR_SIGNATURE, R S "ff" },
		{ KMS_ERR_SIGNATURE, N S "00" },
		{ KMS_ERR_SIGNATURE, ZERO S "00" },
		{ KMS_ERR_SIGNATURE, R ZERO "00" },
		{ KMS_ERR_SIGNATURE, R HALF_PLUS_1 "00" },
		{ KMS_ERR_SIGNATURE, R N_LESS_1 "00" },
		{ KMS_ERR_SIGNATURE, R N "00" },
		{ KMS_ERR_SIGNATURE, R S },
		{ KMS_ERR_SIGNATURE, R S "0" },
		{ KMS_ERR_SIGNATURE, R S "000" },
		{ KMS_ERR_SIGNATURE, R S "0000" },
		{ KMS_ERR_SIGNATURE, R S "0g" },
		{ KMS_ERR_SIGNATURE, "0x0x" R S "00" },
		{ KMS_ERR_SIGNATURE, "" },
	};
	static const uint8_t zero[65];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t sig[65];
		memset(sig, 0xee, sizeof(sig));
		CHECK_STATUS(cases[i].status, kms_signature_parse(sig, kms_text_from(cases[i].text)));
		CHECK(cases[i].status == KMS_OK ? sig[64] <= 1 : memcmp(sig, zero, 65) == 0);
	}
}

/* Recovery does not rely on its caller for the limits. */
TEST(recovery_checks_the_bytes_itself)
{
	uint8_t sig[65], address[20];
	CHECK_OK(kms_signature_parse(sig, kms_text_of(R S "00", 130)));
	for (unsigned v = 2; v < 256; v++) {
		sig[64] = (uint8_t)v;
		CHECK_STATUS(KMS_ERR_SIGNATURE,
			     kms_message_recover(address, kms_span_of(bytes_of("m"), 1), sig));
	}
	CHECK_OK(kms_hex_decode(kms_out_of(sig, 65), kms_text_of(R HALF_PLUS_1 "00", 130)));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_message_recover(address, kms_span_of(bytes_of("m"), 1), sig));
	CHECK_OK(kms_hex_decode(kms_out_of(sig, 65), kms_text_of(ZERO S "00", 130)));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_message_recover(address, kms_span_of(bytes_of("m"), 1), sig));
	/* x = 5 is on no point of the curve: 5^3 + 7 = 132 is no square. */
	CHECK_OK(kms_hex_decode(kms_out_of(sig, 65), kms_text_of(ONE S "00", 130)));
	sig[31] = 5;
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_message_recover(address, kms_span_of(bytes_of("m"), 1), sig));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_message_recover(address, kms_span_of(NULL, 1), sig));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_message_recover(address, kms_span_of(bytes_of("m"), 1), NULL));
}

TEST(address_text_limits)
{
	static const char digits[] = "2C7536E3605D9C16a7a3D7b1898e529396a65c23";
	static const uint8_t zero[20];
	uint8_t address[20];
	char text[KMS_ADDRESS_TEXT];
	CHECK_OK(kms_address_parse(address, kms_text_of(digits, 40)));
	kms_address_format(text, address);
	CHECK_MEM(text, ADDRESS, KMS_ADDRESS_TEXT);
	CHECK_OK(kms_address_parse(address, kms_text_of(ADDRESS, KMS_ADDRESS_TEXT)));
	CHECK_STATUS(KMS_ERR_ADDRESS, kms_address_parse(address, kms_text_of(digits, 39)));
	CHECK_MEM(address, zero, 20);
	CHECK_STATUS(KMS_ERR_ADDRESS, kms_address_parse(address, kms_text_of(digits, 38)));
	CHECK_STATUS(KMS_ERR_ADDRESS,
		     kms_address_parse(address, kms_text_of(ADDRESS "0", KMS_ADDRESS_TEXT + 1)));
	CHECK_STATUS(KMS_ERR_ADDRESS,
		     kms_address_parse(address, kms_text_of(ADDRESS "00", KMS_ADDRESS_TEXT + 2)));
	CHECK_STATUS(KMS_ERR_ADDRESS, kms_address_parse(address, kms_text_of(" " ADDRESS, KMS_ADDRESS_TEXT)));
	CHECK_STATUS(KMS_ERR_ADDRESS, kms_address_parse(address, KMS_TEXT("0x")));
	CHECK_STATUS(KMS_ERR_ADDRESS, kms_address_parse(address, KMS_TEXT("")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_address_parse(address, kms_text_of(NULL, 40)));
}

TEST(eip191_counts_bytes_in_decimal)
{
	uint8_t digest[32], want[32], long_message[1000];
	char prefixed[1100];
	memset(long_message, 'a', sizeof(long_message));
	static const size_t lengths[] = { 0, 1, 9, 10, 99, 100, 999, 1000 };
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		int head =
		    snprintf(prefixed, sizeof(prefixed), "%cEthereum Signed Message:\n%zu", 0x19, lengths[i]);
		memcpy(prefixed + head, long_message, lengths[i]);
		kms_keccak256(want, kms_span_of(prefixed, (size_t)head + lengths[i]));
		CHECK_OK(kms_eip191_digest(digest, kms_span_of(long_message, lengths[i])));
		CHECK_MEM(digest, want, 32);
	}
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_eip191_digest(digest, kms_span_of(NULL, 1)));
}

TEST(refused_allocations)
{
	kms_wallet *wallet = NULL;
	kms_secret *key;
	CHECK_OK(kms_secret_from_hex(&key, kms_text_of(KEY, 64), 32));
	size_t before = kms_guarded_used();
	for (unsigned long n = 1; !wallet; n++) {
		kms_mem_fail_after(n);
		kms_status status = kms_wallet_new(&wallet, key);
		kms_mem_fail_after(0);
		CHECK((status == KMS_OK) == (wallet != NULL));
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY);
		if (!wallet) CHECK(kms_guarded_used() == before);
		CHECK(n < 10 && (!wallet || n > 1));
	}
	kms_wallet_free(wallet);
	kms_secret_unref(key);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(published_signature), T(private_key_limits),
	  T(signatures_of_other_messages_recover_to_others), T(signature_text_limits),
	  T(recovery_checks_the_bytes_itself), T(address_text_limits), T(eip191_counts_bytes_in_decimal),
	  T(refused_allocations))
