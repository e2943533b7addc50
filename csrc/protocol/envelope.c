#include "kms/envelope.h"

#include <string.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"

#define KEY_BYTES 32
#define NONCE_BYTES 32
/* Values and keys of an envelope's JSON: other members are ignored, up to this many. */
#define MAX_VALUES 256

/* ---- reading ---- */

/* A string of an even number of characters, 0x removed; that they are digits is not checked. */
static kms_status hex_member(kms_text *hex, const kms_json *json, const char *name)
{
	const kms_json_value *value = kms_json_get(json, &json->values[0], name);
	ENSURE(value && value->type == KMS_JSON_STRING, KMS_ERR_ENVELOPE);
	*hex = kms_hex_strip(kms_json_text(value));
	ENSURE(hex->len % 2 == 0, KMS_ERR_ENVELOPE);
	return KMS_OK;
}

static kms_status parse_sender(kms_envelope *envelope, const kms_json *json)
{
	kms_text hex;
	GUARD(hex_member(&hex, json, "sender_tee_pubkey"));
	ENSURE(hex.len == 2 * KMS_P384_DER || hex.len == 2 * KMS_P384_POINT, KMS_ERR_ENVELOPE);
	envelope->sender_len = hex.len / 2;
	kms_out der = kms_out_of(envelope->sender_der, envelope->sender_len);
	ENSURE(kms_hex_decode(der, hex) == KMS_OK, KMS_ERR_ENVELOPE);
	return KMS_OK;
}

/* The IV is the nonce's beginning; the rest is not used, but must be hexadecimal too. */
static kms_status parse_nonce(kms_envelope *envelope, const kms_json *json)
{
	kms_text hex;
	GUARD(hex_member(&hex, json, "nonce"));
	ENSURE(hex.len >= 2 * KMS_GCM_IV, KMS_ERR_ENVELOPE);
	envelope->nonce = hex;
	for (size_t at = 0; at < hex.len;) {
		uint8_t piece[NONCE_BYTES];
		size_t left = (hex.len - at) / 2, part = left < sizeof(piece) ? left : sizeof(piece);
		kms_text digits = kms_text_of(hex.text + at, 2 * part);
		ENSURE(kms_hex_decode(kms_out_of(piece, part), digits) == KMS_OK, KMS_ERR_ENVELOPE);
		if (at == 0) memcpy(envelope->iv12, piece, sizeof(envelope->iv12));
		at += 2 * part;
	}
	return KMS_OK;
}

static kms_status parse_members(kms_envelope *envelope, const kms_json *json)
{
	ENSURE(json->values[0].type == KMS_JSON_OBJECT, KMS_ERR_ENVELOPE);
	GUARD(parse_sender(envelope, json));
	GUARD(parse_nonce(envelope, json));
	GUARD(hex_member(&envelope->hex, json, "encrypted_data"));
	ENSURE(envelope->hex.len >= 2 * KMS_GCM_TAG, KMS_ERR_ENVELOPE);
	return KMS_OK;
}

/* ---- the MAC over a received body ---- */

/*
 * Describes the canonical JSON of an envelope without other members by spans of the body, which can be
 * large and is not copied. False when there are other members, or a string that needs escapes.
 */
static bool canonical_spans(kms_span spans[7], const kms_json *json)
{
	static const char *const members[] = { "encrypted_data", "nonce", "sender_tee_pubkey" };
	static const char *const before[] = { "{\"encrypted_data\":\"", "\",\"nonce\":\"",
					      "\",\"sender_tee_pubkey\":\"" };
	const kms_json_value *root = &json->values[0];
	if (root->count != KMS_ARRAY_LEN(members)) return false;
	for (size_t i = 0; i < KMS_ARRAY_LEN(members); i++) {
		const kms_json_value *value = kms_json_get(json, root, members[i]);
		if (kms_json_text_size(kms_json_text(value)) != value->len + 2) return false;
		spans[2 * i] = kms_span_of(before[i], strlen(before[i]));
		spans[2 * i + 1] = kms_span_of(value->text, value->len);
	}
	spans[6] = KMS_BYTES("\"}");
	return true;
}

static kms_status canonical_mac(uint8_t mac32[32], const kms_json *json, const kms_secret *key32)
{
	kms_span spans[7];
	if (canonical_spans(spans, json))
		return kms_hmac_sha256_spans(mac32, key32, spans, KMS_ARRAY_LEN(spans));
	DEFER(kms_buf_free) kms_buf canonical = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	GUARD(kms_json_canonical(&canonical, json, &json->values[0]));
	return kms_hmac_sha256(mac32, key32, kms_buf_span(&canonical));
}

static kms_status parse(kms_envelope *envelope, uint8_t mac32[32], char *body, size_t len,
			const kms_secret *key32)
{
	ENSURE(body || !len, KMS_ERR_ARGUMENT);
	DEFER(kms_json_free) kms_json json = { 0 };
	kms_envelope parsed = { 0 };
	GUARD(kms_json_parse(&json, body, len, MAX_VALUES));
	GUARD(parse_members(&parsed, &json));
	if (key32) GUARD(canonical_mac(mac32, &json, key32));
	*envelope = parsed;
	return KMS_OK;
}

kms_status kms_envelope_parse(kms_envelope *envelope, char *body, size_t len)
{
	ENSURE_REF(envelope);
	*envelope = (kms_envelope){ 0 };
	return parse(envelope, NULL, body, len, NULL);
}

kms_status kms_envelope_parse_mac(kms_envelope *envelope, bool *authentic, char *body, size_t len,
				  const kms_secret *key32, const uint8_t given32[32])
{
	uint8_t mac[32];
	ENSURE_REF(envelope);
	*envelope = (kms_envelope){ 0 };
	ENSURE_REF(authentic);
	*authentic = false;
	ENSURE_REF(key32);
	GUARD(parse(envelope, mac, body, len, key32));
	*authentic = given32 && kms_equal_ct(mac, given32, sizeof(mac));
	return KMS_OK;
}

kms_status kms_envelope_check_sender(const kms_envelope *envelope, const uint8_t peer97[97])
{
	ENSURE_REF(envelope);
	ENSURE_REF(peer97);
	uint8_t der[KMS_P384_DER];
	kms_p384_der(der, peer97);
	bool same_der =
	    envelope->sender_len == KMS_P384_DER && kms_equal_ct(envelope->sender_der, der, KMS_P384_DER);
	bool same_point = envelope->sender_len == KMS_P384_POINT &&
			  kms_equal_ct(envelope->sender_der, peer97, KMS_P384_POINT);
	ENSURE(same_der || same_point, KMS_ERR_SENDER_KEY);
	return KMS_OK;
}

kms_status kms_envelope_open(kms_buf *plain, const kms_envelope *envelope, const kms_secret *channel_key32)
{
	ENSURE_REF(plain);
	ENSURE_REF(envelope);
	ENSURE_REF(channel_key32);
	ENSURE(plain->kind != KMS_BUF_PLAIN, KMS_ERR_ARGUMENT);
	ENSURE(kms_secret_len(channel_key32) == KEY_BYTES, KMS_ERR_RANGE);
	return kms_gcm_open_hex(plain, kms_secret_bytes(channel_key32), envelope->iv12, envelope->hex);
}

/* ---- writing ---- */

static kms_status append_envelope(kms_buf *body, const kms_secret *channel_key32, const uint8_t own97[97],
				  const uint8_t nonce32[32], kms_span plain)
{
	uint8_t der[KMS_P384_DER];
	kms_p384_der(der, own97);
	GUARD(kms_buf_append_text(body, "{\"encrypted_data\":\""));
	GUARD(kms_gcm_seal_hex(body, kms_secret_bytes(channel_key32), nonce32, plain));
	GUARD(kms_buf_append_text(body, "\",\"nonce\":\""));
	GUARD(kms_buf_append_hex(body, kms_span_of(nonce32, NONCE_BYTES)));
	GUARD(kms_buf_append_text(body, "\",\"sender_tee_pubkey\":\""));
	GUARD(kms_buf_append_hex(body, KMS_SPAN(der)));
	return kms_buf_append_text(body, "\"}");
}

kms_status kms_envelope_seal_with(kms_buf *body, const kms_secret *channel_key32, const uint8_t own97[97],
				  const uint8_t nonce32[32], kms_span plain)
{
	ENSURE_REF(body);
	ENSURE_REF(channel_key32);
	ENSURE_REF(own97);
	ENSURE_REF(nonce32);
	ENSURE(plain.bytes || !plain.len, KMS_ERR_ARGUMENT);
	ENSURE(kms_secret_len(channel_key32) == KEY_BYTES, KMS_ERR_RANGE);
	size_t start = body->len;
	kms_status status = append_envelope(body, channel_key32, own97, nonce32, plain);
	if (status != KMS_OK) body->len = start;
	return status;
}

kms_status kms_envelope_seal(kms_buf *body, const kms_secret *channel_key32, const uint8_t own97[97],
			     kms_span plain)
{
	uint8_t nonce[NONCE_BYTES];
	GUARD(kms_random(KMS_OUT(nonce)));
	return kms_envelope_seal_with(body, channel_key32, own97, nonce, plain);
}
