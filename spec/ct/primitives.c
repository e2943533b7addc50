/* Keys, ECDH, derivation, encryption, MACs. */
#include "check.h"
#include "kms/kdf.h"
#include "kms/keyfile.h"
#include "kms/p384.h"
#include "kms/wallet.h"
#include "taint.h"

#define KEY 32

static kms_p384 *hidden_p384(uint8_t seed)
{
	kms_p384 *key;
	kms_secret *scalar = hidden_secret(48, seed);
	MUST(kms_p384_new(&key, scalar));
	show(kms_p384_public(key), KMS_P384_POINT); /* a public key */
	kms_secret_unref(scalar);
	return key;
}

static void p384_new(void)
{
	kms_p384_free(hidden_p384(1));
	/* Zero, and beyond the order of the group. */
	uint8_t bytes[48];
	for (int fill = 0; fill <= 0xff; fill += 0xff) {
		kms_secret *scalar;
		kms_p384 *key;
		memset(bytes, fill, sizeof(bytes));
		MUST(kms_secret_new(&scalar, KMS_SPAN(bytes)));
		hide((void *)(uintptr_t)kms_secret_bytes(scalar), sizeof(bytes));
		if (kms_p384_new(&key, scalar) != KMS_ERR_PRIVATE_KEY) exit(2);
		kms_secret_unref(scalar);
	}
}

static void p384_generate(void)
{
	kms_p384 *key;
	ct_hide_random(true);
	MUST(kms_p384_generate(&key));
	kms_p384_free(key);
}

static void ecdh(void)
{
	kms_p384 *own = hidden_p384(1), *peer = hidden_p384(2);
	kms_secret *x;
	MUST(kms_p384_ecdh(&x, own, kms_p384_public(peer)));
	kms_secret_unref(x);
	kms_p384_free(own);
	kms_p384_free(peer);
}

static void wallet(void)
{
	kms_secret *key = hidden_secret(KEY, 3);
	kms_wallet *made;
	uint8_t signature[65], digest[32] = { 7 }, point[65];
	MUST(kms_wallet_new(&made, key));
	MUST(kms_wallet_sign(signature, made, digest));
	MUST(kms_wallet_sign_message(signature, made, KMS_BYTES("text")));
	MUST(kms_wallet_public(point, made));
	kms_wallet_free(made);
	kms_secret_unref(key);
}

static void identity(void)
{
	kms_secret *seed = hidden_secret(KEY, 4);
	kms_wallet *made;
	kms_p384 *key;
	MUST(kms_seed_identity(&made, &key, seed));
	kms_wallet_free(made);
	kms_p384_free(key);
	kms_secret_unref(seed);
}

static void derive(void)
{
	static const size_t lengths[] = { 1, 32, 33, 64, 1024 };
	uint8_t *out = kms_guarded_alloc(1024);
	kms_secret *master = hidden_secret(KEY, 5), *key;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		MUST(kms_derive(kms_out_of(out, lengths[i]), master, 49, KMS_TEXT("wallet/root"),
				KMS_NO_TEXT));
		MUST(kms_derive(kms_out_of(out, lengths[i]), master, 49, KMS_TEXT("wallet/root"),
				KMS_TEXT("context")));
	}
	MUST(kms_data_key(&key, master, 49));
	kms_secret_unref(key);
	MUST(kms_sync_key(&key, master));
	kms_secret_unref(key);
	kms_secret_unref(master);
	kms_guarded_free(out);
}

static void hmac(void)
{
	uint8_t mac[32], expected[32];
	static const uint8_t body[100] = { 1 };
	for (size_t len = 1; len <= 64; len += 31) {
		kms_secret *key = hidden_secret(len, 6);
		MUST(kms_hmac_sha256(mac, key, KMS_SPAN(body)));
		MUST(kms_hmac_sha256(expected, key, KMS_SPAN(body)));
		if (!kms_equal_ct(mac, expected, sizeof(mac))) exit(2);
		expected[31] ^= 1;
		if (kms_equal_ct(mac, expected, sizeof(mac))) exit(2);
		kms_secret_unref(key);
	}
}

static void gcm(void)
{
	static const uint8_t iv[12] = { 1 };
	uint8_t plain[100], sealed[116], opened[100];
	kms_secret *key = hidden_secret(KEY, 7), *text = hidden_secret(64, 8);
	memset(plain, 0, sizeof(plain));
	memcpy(plain, kms_secret_bytes(text), 64);
	MUST(kms_gcm_seal(sealed, kms_secret_bytes(key), iv, KMS_SPAN(plain)));
	show(sealed, sizeof(sealed)); /* it goes over the network */
	MUST(kms_gcm_open(opened, kms_secret_bytes(key), iv, KMS_SPAN(sealed)));
	for (size_t i = 0; i < sizeof(sealed); i += 23) {
		sealed[i] ^= 1;
		if (kms_gcm_open(opened, kms_secret_bytes(key), iv, KMS_SPAN(sealed)) != KMS_ERR_DECRYPT)
			exit(2);
		sealed[i] ^= 1;
	}
	kms_secret_unref(key);
	kms_secret_unref(text);
}

static void gcm_hex(void)
{
	static const uint8_t iv[12] = { 1 };
	kms_secret *key = hidden_secret(KEY, 7), *text = hidden_secret(64, 8);
	kms_buf hex = kms_buf_make(KMS_BUF_PLAIN, 4096), plain = kms_buf_make(KMS_BUF_GUARDED, 4096);
	MUST(kms_gcm_seal_hex(&hex, kms_secret_bytes(key), iv, kms_span_of(kms_secret_bytes(text), 64)));
	show(hex.data, hex.len);
	MUST(kms_gcm_open_hex(&plain, kms_secret_bytes(key), iv, kms_buf_text(&hex)));
	hex.data[hex.len - 1] = hex.data[hex.len - 1] == '0' ? '1' : '0';
	if (kms_gcm_open_hex(&plain, kms_secret_bytes(key), iv, kms_buf_text(&hex)) != KMS_ERR_DECRYPT)
		exit(2);
	kms_buf_free(&hex);
	kms_buf_free(&plain);
	kms_secret_unref(key);
	kms_secret_unref(text);
}

const ct_case ct_primitives[] = {
	{ "a P-384 key from its scalar", p384_new },
	{ "a fresh P-384 key", p384_generate },
	{ "ECDH", ecdh },
	{ "a wallet, and its signatures", wallet },
	{ "an identity from its seed", identity },
	{ "derivation", derive },
	{ "HMAC and its comparison", hmac },
	{ "AES-GCM and its tag", gcm },
	{ "AES-GCM in hex", gcm_hex },
	{ NULL, NULL },
};
