/* Known answers: hashes, signatures, derived keys, canonical JSON and its MAC. */
#include "kms/eth_text.h"
#include "kms/kdf.h"
#include "vectors_kit.h"

static void check_keccak256(int *failed_, const vectors *v)
{
	size_t len;
	uint8_t digest[32], *data = bytes_of(&len, text(v, "data"));
	kms_keccak256(digest, kms_span_of(data, len));
	free(data);
	CHECK(bytes_are(digest, 32, text(v, "hash")));
}

static void check_eip191(int *failed_, const vectors *v)
{
	uint8_t digest[32], address[20], signer[20], sig[65], parsed[65];
	char address_text[KMS_ADDRESS_TEXT], sig_text[KMS_SIGNATURE_TEXT];
	const kms_json_value *m = text(v, "message"), *s = text(v, "signature"), *high = text(v, "high_s");
	kms_wallet *w = wallet(text(v, "priv"));
	kms_wallet_address(address, w);
	kms_address_format(address_text, address);
	CHECK(text_is(address_text, sizeof(address_text), text(v, "address")));
	CHECK_OK(kms_eip191_digest(digest, kms_text_span(kms_json_text(m))));
	CHECK(bytes_are(digest, 32, text(v, "digest")));
	CHECK_OK(kms_wallet_sign_message(sig, w, kms_text_span(kms_json_text(m))));
	kms_signature_format(sig_text, sig);
	CHECK(text_is(sig_text, sizeof(sig_text), text(v, "signature_v27")));
	CHECK_OK(kms_signature_parse(parsed, kms_json_text(s)));
	CHECK_MEM(parsed, sig, 65);
	CHECK_OK(kms_message_recover(signer, kms_text_span(kms_json_text(m)), parsed));
	CHECK_MEM(signer, address, 20);
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_signature_parse(parsed, kms_json_text(high)));
	kms_wallet_free(w);
}

static void check_derive(int *failed_, const vectors *v)
{
	uint8_t key[KMS_DERIVE_MAX];
	const kms_json_value *path = text(v, "path"), *context = text(v, "context");
	size_t len = text(v, "length")->number;
	uint64_t app_id = number(v, "app_id");
	kms_secret *master = secret(text(v, "master_secret")), *reserved = NULL;
	CHECK(len <= sizeof(key));
	if (app_id == 0) {
		/* The one derivation that no application reaches. */
		CHECK(text_is("sync_hmac_key", 13, path) && len == 32);
		CHECK_OK(kms_sync_key(&reserved, master));
		memcpy(key, kms_secret_bytes(reserved), 32);
	} else {
		CHECK_OK(kms_derive(kms_out_of(key, len), master, app_id, kms_json_text(path),
				    kms_json_text(context)));
	}
	CHECK(bytes_are(key, len, text(v, "key")));
	kms_secret_unref(reserved);
	kms_secret_unref(master);
}

static void check_canonical(int *failed_, const vectors *v)
{
	uint8_t mac[32];
	kms_json json;
	const kms_json_value *source = text(v, "json");
	kms_secret *key = secret(text(v, "hmac_key"));
	kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	CHECK_OK(kms_json_parse(&json, source->text, source->len, 10000));
	CHECK_OK(kms_json_canonical(&out, &json, json.values));
	CHECK(text_is((char *)out.data, out.len, text(v, "canonical")));
	CHECK_OK(kms_hmac_sha256(mac, key, kms_buf_span(&out)));
	CHECK(bytes_are(mac, 32, text(v, "hmac")));
	kms_json_free(&json);
	kms_buf_free(&out);
	kms_secret_unref(key);
}

TEST(keccak256)
{
	each(failed_, "keccak256", check_keccak256);
}

TEST(eip191)
{
	each(failed_, "eip191", check_eip191);
}

TEST(derive)
{
	each(failed_, "derive", check_derive);
}

TEST(canonical)
{
	each(failed_, "canonical", check_canonical);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(keccak256), T(eip191), T(derive), T(canonical))
