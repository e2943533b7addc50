/* Known answers: encrypted bodies. */
#include "kms/envelope.h"
#include "vectors_kit.h"

/* Both sides: the receiver opens it; with our length of nonce, the sender writes the same. */
static void check_envelope(int *failed_, const vectors *v)
{
	uint8_t der[120], nonce[32];
	kms_channels *channels;
	kms_secret *x, *key;
	kms_envelope envelope;
	kms_p384 *sender = p384(text(v, "sender_priv")), *receiver = p384(text(v, "receiver_priv"));
	const kms_json_value *plain = text(v, "plaintext"), *want = text(v, "envelope");
	const kms_json_value *nonce_hex = member(v, want, "nonce");
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), written = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	kms_buf opened = kms_buf_make(KMS_BUF_GUARDED, 1 << 16);

	kms_p384_der(der, kms_p384_public(receiver));
	CHECK(bytes_are(der, sizeof(der), text(v, "receiver_tee_pubkey")));
	CHECK_OK(kms_p384_ecdh(&x, sender, kms_p384_public(receiver)));
	CHECK(bytes_are(kms_secret_bytes(x), 48, text(v, "shared_secret")));
	CHECK_OK(kms_channels_new(&channels, 2));
	CHECK_OK(kms_channels_get(&key, channels, receiver, kms_p384_public(sender)));
	CHECK_OK(kms_json_canonical(&body, &v->json, want));
	if (nonce_hex->len == 64) {
		fixed(nonce, 32, nonce_hex);
		CHECK_OK(kms_envelope_seal_with(&written, key, kms_p384_public(sender), nonce,
						kms_span_of((const uint8_t *)plain->text, plain->len)));
		CHECK(written.len == body.len);
		CHECK_MEM(written.data, body.data, body.len);
	}
	CHECK_OK(kms_envelope_parse(&envelope, (char *)body.data, body.len));
	CHECK_OK(kms_envelope_check_sender(&envelope, kms_p384_public(sender)));
	CHECK_OK(kms_envelope_open(&opened, &envelope, key));
	CHECK(text_is((char *)opened.data, opened.len, plain));
	kms_buf_free(&body);
	kms_buf_free(&written);
	kms_buf_free(&opened);
	kms_channels_free(channels);
	kms_secret_unref(x);
	kms_secret_unref(key);
	kms_p384_free(sender);
	kms_p384_free(receiver);
}

TEST(envelope)
{
	each(failed_, "envelope", check_envelope);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(envelope))
