/* Known answers of every primitive, from published sources: a failure stops the start. */
#include <string.h>

#include "base/ensure.h"
#include "crypto/chacha_internal.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/p384.h"
#include "kms/wallet.h"
#include "kms/x25519.h"

/* ERR_SELFTEST unless the bytes are those of the text. */
static kms_status expect(const uint8_t *bytes, size_t len, kms_text hex)
{
	uint8_t want[128];
	ENSURE(len <= sizeof(want), KMS_ERR_RANGE);
	GUARD(kms_hex_decode(kms_out_of(want, len), hex));
	ENSURE(kms_equal_ct(bytes, want, len), KMS_ERR_SELFTEST);
	return KMS_OK;
}

/* Empty input with the original padding, as every Ethereum client has it for empty code. */
static kms_status test_keccak256(void)
{
	uint8_t digest[32];
	kms_keccak256(digest, KMS_NO_BYTES);
	GUARD(
	    expect(digest, 32, KMS_TEXT("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")));
	kms_keccak256(digest, KMS_BYTES("abc"));
	return expect(digest, 32,
		      KMS_TEXT("4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"));
}

/* FIPS 180-2 appendix B.1. */
static kms_status test_sha256(void)
{
	uint8_t digest[32];
	GUARD(kms_sha256(digest, KMS_BYTES("abc")));
	return expect(digest, 32,
		      KMS_TEXT("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

/* RFC 4231 test case 2. */
static kms_status test_hmac(void)
{
	uint8_t mac[32];
	DEFER(kms_secret_release) kms_secret *key = NULL;
	GUARD(kms_secret_new(&key, KMS_BYTES("Jefe")));
	GUARD(kms_hmac_sha256(mac, key, KMS_BYTES("what do ya want for nothing?")));
	return expect(mac, 32, KMS_TEXT("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
}

/* RFC 5869 appendix A.1. */
static kms_status test_hkdf(void)
{
	uint8_t ikm[22], salt[13], info[10], okm[42];
	memset(ikm, 0x0b, sizeof(ikm));
	for (size_t i = 0; i < sizeof(salt); i++)
		salt[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(info); i++)
		info[i] = (uint8_t)(0xf0 + i);
	GUARD(kms_hkdf_sha256(KMS_OUT(okm), KMS_SPAN(ikm), KMS_SPAN(salt), KMS_SPAN(info)));
	return expect(okm, sizeof(okm),
		      KMS_TEXT("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
			       "34007208d5b887185865"));
}

/* The GCM specification (McGrew and Viega), test case 14; and a wrong tag. */
static kms_status test_gcm(void)
{
	static const uint8_t key[32], iv[KMS_GCM_IV], zeros[16];
	uint8_t sealed[16 + KMS_GCM_TAG], plain[16];
	GUARD(kms_gcm_seal(sealed, key, iv, KMS_SPAN(zeros)));
	GUARD(expect(sealed, sizeof(sealed),
		     KMS_TEXT("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")));
	GUARD(kms_gcm_open(plain, key, iv, KMS_SPAN(sealed)));
	ENSURE(kms_equal_ct(plain, zeros, sizeof(zeros)), KMS_ERR_SELFTEST);
	sealed[31] ^= 1;
	ENSURE(kms_gcm_open(plain, key, iv, KMS_SPAN(sealed)) == KMS_ERR_DECRYPT, KMS_ERR_SELFTEST);
	return KMS_OK;
}

/* FIPS 197 appendix C.3. */
static kms_status test_aes(void)
{
	uint8_t block[16], plain[16];
	DEFER(kms_secret_release) kms_secret *key = NULL;
	DEFER(kms_aes_block_release) kms_aes_block *cipher = NULL;
	GUARD(kms_secret_from_hex(
	    &key, KMS_TEXT("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"), 32));
	GUARD(kms_aes_block_new(&cipher, key));
	GUARD(kms_hex_decode(KMS_OUT(plain), KMS_TEXT("00112233445566778899aabbccddeeff")));
	GUARD(kms_aes_block_encrypt(block, cipher, plain));
	GUARD(expect(block, 16, KMS_TEXT("8ea2b7ca516745bfeafc49904b496089")));
	GUARD(kms_aes_block_decrypt(block, cipher, block));
	ENSURE(kms_equal_ct(block, plain, 16), KMS_ERR_SELFTEST);
	return KMS_OK;
}

/*
 * EIP-191 with an RFC 6979 nonce: the example of web3.js, eth.accounts.sign. A signature over
 * another message must recover to another address.
 */
static kms_status test_wallet(void)
{
	uint8_t address[20], recovered[20], sig[65];
	DEFER(kms_secret_release) kms_secret *key = NULL;
	DEFER(kms_wallet_release) kms_wallet *wallet = NULL;
	GUARD(kms_secret_from_hex(
	    &key, KMS_TEXT("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"), 32));
	GUARD(kms_wallet_new(&wallet, key));
	kms_wallet_address(address, wallet);
	GUARD(expect(address, 20, KMS_TEXT("2c7536e3605d9c16a7a3d7b1898e529396a65c23")));
	GUARD(kms_wallet_sign_message(sig, wallet, KMS_BYTES("Some data")));
	GUARD(expect(sig, 65,
		     KMS_TEXT("b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd"
			      "6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a029"
			      "01")));
	GUARD(kms_message_recover(recovered, KMS_BYTES("Some data"), sig));
	ENSURE(kms_equal_ct(recovered, address, 20), KMS_ERR_SELFTEST);
	kms_status status = kms_message_recover(recovered, KMS_BYTES("Some date"), sig);
	ENSURE(status == KMS_ERR_SIGNATURE || (status == KMS_OK && !kms_equal_ct(recovered, address, 20)),
	       KMS_ERR_SELFTEST);
	return KMS_OK;
}

/* NIST CAVP, KAS ECC CDH primitive, P-384 count 0. */
static kms_status test_p384(void)
{
	uint8_t encoded[KMS_P384_POINT], point[KMS_P384_POINT];
	DEFER(kms_secret_release) kms_secret *scalar = NULL;
	DEFER(kms_secret_release) kms_secret *shared = NULL;
	DEFER(kms_p384_release) kms_p384 *key = NULL;
	GUARD(kms_hex_decode(KMS_OUT(encoded),
			     KMS_TEXT("04"
				      "a7c76b970c3b5fe8b05d2838ae04ab47697b9eaf52e764592efda27fe7513272"
				      "734466b400091adbf2d68c58e0c50066ac68f19f2e1cb879aed43a9969b91a08"
				      "39c4c38a49749b661efedf243451915ed0905a32b060992b468c64766fc8437a")));
	GUARD(kms_secret_from_hex(&scalar,
				  KMS_TEXT("3cc3122a68f0d95027ad38c067916ba0eb8c38894d22e1b1"
					   "5618b6818a661774ad463b205da88cf699ab4d43c9cf98a1"),
				  48));
	GUARD(kms_p384_point_parse(point, KMS_SPAN(encoded)));
	GUARD(kms_p384_new(&key, scalar));
	GUARD(kms_p384_ecdh(&shared, key, point));
	GUARD(expect(kms_secret_bytes(shared), 48,
		     KMS_TEXT("5f9d29dc5e31a163060356213669c8ce132e22f57c9a04f4"
			      "0ba7fcead493b457e5621e766c40a2e3d4d6a04b25e533f1")));
	encoded[96] ^= 1; /* off the curve */
	ENSURE(kms_p384_point_parse(point, KMS_SPAN(encoded)) == KMS_ERR_PEER_KEY, KMS_ERR_SELFTEST);
	return KMS_OK;
}

/* Made with another implementation (spec/vectors/recovery.py); RFC 8439's own example has additional data. */
static kms_status test_chacha(void)
{
	static const uint8_t nonce[12] = { 7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47 };
	const kms_span plain = KMS_BYTES("nova-kms self-test");
	uint8_t key[32], sealed[18 + KMS_CHACHA_TAG], opened[18];
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(128 + i);
	GUARD(kms_chacha_seal(sealed, key, nonce, plain));
	GUARD(expect(sealed, sizeof(sealed),
		     KMS_TEXT("f1149f3c2c962dc93591ea9750ac7ecbb2b4b0fae58251023734d156928479bdec84")));
	GUARD(kms_chacha_open(opened, key, nonce, KMS_SPAN(sealed)));
	ENSURE(kms_equal_ct(opened, plain.bytes, plain.len), KMS_ERR_SELFTEST);
	sealed[0] ^= 1;
	ENSURE(kms_chacha_open(opened, key, nonce, KMS_SPAN(sealed)) == KMS_ERR_DECRYPT, KMS_ERR_SELFTEST);
	return KMS_OK;
}

/* RFC 7748 section 6.1; and the point of order one. */
static kms_status test_x25519(void)
{
	static const uint8_t one[KMS_X25519_BYTES] = { 1 };
	uint8_t peer[KMS_X25519_BYTES];
	DEFER(kms_secret_release) kms_secret *scalar = NULL;
	DEFER(kms_secret_release) kms_secret *shared = NULL;
	DEFER(kms_secret_release) kms_secret *none = NULL;
	DEFER(kms_x25519_release) kms_x25519 *key = NULL;
	GUARD(kms_secret_from_hex(
	    &scalar, KMS_TEXT("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"), 32));
	GUARD(kms_hex_decode(KMS_OUT(peer),
			     KMS_TEXT("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")));
	GUARD(kms_x25519_new(&key, scalar));
	GUARD(expect(kms_x25519_public(key), 32,
		     KMS_TEXT("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")));
	GUARD(kms_x25519_agree(&shared, key, peer));
	GUARD(expect(kms_secret_bytes(shared), 32,
		     KMS_TEXT("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")));
	ENSURE(kms_x25519_agree(&none, key, one) == KMS_ERR_PEER_KEY, KMS_ERR_SELFTEST);
	return KMS_OK;
}

kms_status kms_selftest(const char **failed)
{
	static const struct {
		const char *name;
		kms_status (*run)(void);
	} tests[] = {
		{ "keccak-256", test_keccak256 },    { "SHA-256", test_sha256 },
		{ "HMAC-SHA256", test_hmac },        { "HKDF-SHA256", test_hkdf },
		{ "AES-256-GCM", test_gcm },         { "AES-256", test_aes },
		{ "secp256k1 wallet", test_wallet }, { "P-384 ECDH", test_p384 },
		{ "X25519", test_x25519 },           { "ChaCha20-Poly1305", test_chacha },
	};
	ENSURE_REF(failed);
	*failed = NULL;
	for (size_t i = 0; i < KMS_ARRAY_LEN(tests); i++) {
		if (tests[i].run() == KMS_OK) continue;
		*failed = tests[i].name;
		return KMS_ERR_SELFTEST;
	}
	return KMS_OK;
}
