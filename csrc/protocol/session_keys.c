/* The key schedule of a session, and the MAC of members. */
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/crypto.h"
#include "protocol/session_internal.h"

#define MAC_PREFIX "nova-kms:session-mac:"

kms_status kms_session_salt(uint8_t salt32[32], kms_span signed_text, kms_span request_body,
			    kms_span answer_body)
{
	uint8_t lengths[3][8];
	const kms_span parts[] = { signed_text, request_body, answer_body };
	kms_span spans[6];
	for (size_t i = 0; i < 3; i++) {
		kms_store64_be(lengths[i], parts[i].len);
		spans[2 * i] = KMS_SPAN(lengths[i]);
		spans[2 * i + 1] = parts[i];
	}
	return kms_sha256_spans(salt32, spans, KMS_ARRAY_LEN(spans));
}

/* HKDF makes prk in the thread's own memory and wipes it there, once for each direction. */
static kms_status expand(session_keys *keys, const kms_secret *shared32)
{
	kms_span secret = kms_secret_span(shared32), salt = KMS_SPAN(keys->salt32);
	GUARD(kms_hkdf_sha256(KMS_OUT(keys->c2s32), secret, salt, KMS_BYTES("nova-kms session c2s")));
	return kms_hkdf_sha256(KMS_OUT(keys->s2c32), secret, salt, KMS_BYTES("nova-kms session s2c"));
}

static kms_status derive(session_keys *keys, const kms_x25519 *own, const kms_session_terms *terms)
{
	DEFER(kms_secret_release) kms_secret *shared = NULL;
	GUARD(kms_x25519_agree(&shared, own, terms->peer_e32));
	memcpy(keys->sid16, terms->sid16, sizeof(keys->sid16));
	memcpy(keys->salt32, terms->salt32, sizeof(keys->salt32));
	return expand(keys, shared);
}

kms_status kms_session_keys_derive(session_keys *keys, kms_x25519 **own, const kms_session_terms *terms)
{
	ENSURE_REF(own);
	ENSURE_REF(*own);
	kms_status status = terms ? derive(keys, *own, terms) : KMS_ERR_ARGUMENT;
	kms_x25519_free(*own);
	*own = NULL;
	return status;
}

kms_status kms_session_mac(uint8_t mac32[32], const kms_secret *sync_key32, const uint8_t salt32[32],
			   uint64_t seq)
{
	uint8_t number[8];
	ENSURE_REF(mac32);
	memset(mac32, 0, 32);
	ENSURE_REF(salt32);
	kms_store64_be(number, seq);
	const kms_span spans[] = { KMS_BYTES(MAC_PREFIX), kms_span_of(salt32, 32), KMS_SPAN(number) };
	return kms_hmac_sha256_spans(mac32, sync_key32, spans, KMS_ARRAY_LEN(spans));
}
