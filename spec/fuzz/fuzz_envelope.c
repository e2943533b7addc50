/*
 * Envelopes and their MAC: both parsers agree, the MAC is right only over the canonical text, and what opens
 * seals to the same text again.
 */
#include "envelope_kit.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 2;

static kms_secret *key32;

/* The MAC as a sender makes it. Returns: false when the body is no canonical JSON. */
static bool sender_mac(uint8_t mac32[32], kms_span text)
{
	kms_json json;
	kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, text), canonical = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	kms_status status = kms_json_parse(&json, (char *)copy.data, copy.len, 4096);
	if (status == KMS_OK) status = kms_json_canonical(&canonical, &json, json.values);
	if (status == KMS_OK) status = kms_hmac_sha256(mac32, key32, kms_buf_span(&canonical));
	kms_json_free(&json);
	kms_buf_free(&canonical);
	kms_buf_free(&copy);
	return status == KMS_OK;
}

static kms_status parse_mac(bool *authentic, kms_span text, const uint8_t given32[32])
{
	kms_envelope envelope;
	kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, text);
	kms_status status =
	    kms_envelope_parse_mac(&envelope, authentic, (char *)copy.data, copy.len, key32, given32);
	kms_buf_free(&copy);
	return status;
}

static void check_mac(kms_status parsed, kms_span text)
{
	uint8_t mac32[32];
	bool authentic, canonical = sender_mac(mac32, text);
	kms_status status = parse_mac(&authentic, text, canonical ? mac32 : NULL);
	HOLDS(authentic == (status == KMS_OK && canonical));
	if (authentic) fuzz_accept(1);
	if (canonical) HOLDS(status == parsed);
	if (!canonical) return;
	mac32[text.len % 32] ^= 1;
	HOLDS(parse_mac(&authentic, text, mac32) == status && !authentic);
}

static void check_open(const kms_envelope *envelope)
{
	kms_buf plain = kms_buf_make(KMS_BUF_WIPED, FUZZ_MAX_INPUT);
	kms_status status = kms_envelope_open(&plain, envelope, key32);
	HOLDS(status == KMS_OK || status == KMS_ERR_HEX || status == KMS_ERR_DECRYPT);
	if (status == KMS_OK) fuzz_accept(0);
	HOLDS(plain.len == (status == KMS_OK ? envelope->hex.len / 2 - KMS_GCM_TAG : 0));
	kms_buf_free(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kms_envelope envelope;
	fuzz_start();
	if (!key32) key32 = hex_secret(KEY);
	if (size == 0 || size > FUZZ_MAX_INPUT) return 0;
	kms_span text = kms_span_of(data, size);
	kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, text);
	kms_status status = kms_envelope_parse(&envelope, (char *)copy.data, copy.len);
	if (status == KMS_OK) {
		HOLDS(envelope.sender_len <= sizeof(envelope.sender_der));
		HOLDS(fuzz_within(kms_text_span(envelope.hex), kms_buf_span(&copy)));
		HOLDS(fuzz_within(kms_text_span(envelope.nonce), kms_buf_span(&copy)));
		HOLDS(envelope.nonce.len >= 24);
		check_open(&envelope);
	}
	kms_buf_free(&copy);
	check_mac(status, text);
	return 0;
}

void fuzz_seeds(void)
{
	char sender[241], text[2048];
	uint8_t nonce32[32] = { 1 };
	kms_p384 *own = hex_p384("0102");
	kms_secret *channel = hex_secret(KEY);
	kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, FUZZ_MAX_INPUT);
	HOLDS_OK(
	    kms_envelope_seal_with(&sealed, channel, kms_p384_public(own), nonce32, KMS_BYTES("{\"a\":1}")));
	fuzz_seed(kms_buf_span(&sealed));
	sender_hex(sender, own);
	snprintf(text, sizeof(text), FORMAT, sender, "0x" NONCE12, TAG);
	fuzz_seed(kms_text_span(kms_text_from(text)));
	snprintf(text, sizeof(text),
		 "{\"x\":[1.5,{}],\"sender_tee_pubkey\":\"%s\",\"nonce\":\"%s\",\"encrypted_data\":\"\"}",
		 sender, NONCE32);
	fuzz_seed(kms_text_span(kms_text_from(text)));
	kms_buf_free(&sealed);
	kms_secret_unref(channel);
	kms_p384_free(own);
}
