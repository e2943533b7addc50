/* Responses of the Odyn service: a failure leaves nothing behind, a success is what was asked for. */
#include "kms/json.h"
#include "lib/fuzz.h"
#include "odyn_kit.h"

enum { PLAIN, ENVELOPE, SECRET, SIGNATURE, TRANSACTION, VALUE, KINDS };

const unsigned fuzz_kinds = KINDS;

static void check_plain(kms_buf *response)
{
	const char *field;
	kms_buf plain = kms_buf_make(KMS_BUF_WIPED, FUZZ_MAX_INPUT);
	kms_status status = kms_odyn_plain(&plain, &field, response);
	if (status == KMS_OK) fuzz_accept(PLAIN);
	HOLDS(status == KMS_OK ? !field : status == KMS_ERR_TEE && plain.len == 0);
	HOLDS(!response->data && kms_utf8_valid(kms_buf_text(&plain)));
	kms_buf_free(&plain);
}

static void check_envelope(kms_buf *response, const kms_p384 *own)
{
	const char *field;
	kms_envelope envelope;
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 4 * FUZZ_MAX_INPUT);
	kms_status status = kms_odyn_envelope(&field, &body, response, kms_p384_public(own), SIZE_MAX);
	if (status == KMS_OK) {
		fuzz_accept(ENVELOPE);
		HOLDS_OK(kms_envelope_parse(&envelope, (char *)body.data, body.len));
		HOLDS_OK(kms_envelope_check_sender(&envelope, kms_p384_public(own)));
	} else {
		HOLDS(status == KMS_ERR_TEE && body.len == 0);
	}
	kms_buf_free(&body);
}

static void check_secret(kms_buf *response)
{
	const char *field;
	kms_secret *secret;
	kms_status status = kms_odyn_secret(&secret, &field, response);
	if (status == KMS_OK) fuzz_accept(SECRET);
	HOLDS(status == KMS_OK ? kms_secret_len(secret) == 32 : status == KMS_ERR_TEE && !secret);
	kms_secret_unref(secret);
}

static void check_signature(kms_buf *response)
{
	const char *field;
	char text132[KMS_SIGNATURE_TEXT];
	uint8_t sig65[65];
	kms_status status = kms_odyn_signature(text132, &field, response, own20);
	if (status == KMS_OK) fuzz_accept(SIGNATURE);
	if (status == KMS_OK)
		HOLDS_OK(kms_signature_parse(sig65, kms_text_of(text132, sizeof(text132))));
	else
		HOLDS(status == KMS_ERR_TEE && text132[0] == 0);
}

static void check_transaction(kms_buf *response)
{
	const char *field;
	uint8_t told32[32], hash32[32];
	kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, FUZZ_MAX_INPUT);
	kms_status status = kms_odyn_transaction(told32, &field, &raw, response, own20);
	if (status == KMS_OK) {
		fuzz_accept(TRANSACTION);
		kms_keccak256(hash32, kms_buf_span(&raw));
		HOLDS(raw.len > 1 && raw.data[0] == 2 && memcmp(told32, hash32, 32) == 0);
	} else {
		HOLDS(status == KMS_ERR_TEE && raw.len == 0);
	}
	kms_buf_free(&raw);
}

static void check_value(kms_buf *response)
{
	const char *field;
	kms_buf value = kms_buf_make(KMS_BUF_WIPED, FUZZ_MAX_INPUT);
	kms_status status = kms_odyn_value(&value, &field, response);
	if (status == KMS_OK) fuzz_accept(VALUE);
	HOLDS(status == KMS_OK ? !field : status == KMS_ERR_TEE && value.len == 0);
	HOLDS(!response->data);
	kms_buf_free(&value);
}

/* The first byte is the kind of the response. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static kms_p384 *own;
	fuzz_start();
	if (!own) own = hex_p384("0102");
	if (size < 2 || size > FUZZ_MAX_INPUT) return 0;
	kms_buf response = fuzz_copy(KMS_BUF_WIPED, kms_span_of(data + 1, size - 1));
	switch (data[0] % KINDS) {
	case PLAIN:
		check_plain(&response);
		break;
	case ENVELOPE:
		check_envelope(&response, own);
		break;
	case SECRET:
		check_secret(&response);
		break;
	case SIGNATURE:
		check_signature(&response);
		break;
	case TRANSACTION:
		check_transaction(&response);
		break;
	default:
		check_value(&response);
	}
	kms_buf_free(&response);
	return 0;
}

static void seed_transaction(void)
{
	static const uint8_t raw[] = { 2, 0xc0 };
	uint8_t hash32[32];
	char digits[65] = { 0 }, text[512];
	kms_keccak256(hash32, KMS_SPAN(raw));
	kms_hex_encode(digits, KMS_SPAN(hash32));
	snprintf(text, sizeof(text),
		 "{\"raw_transaction\":\"0x02c0\",\"transaction_hash\":\"0x%s\",\"address\":\"" OWN_ADDRESS
		 "\"}",
		 digits);
	fuzz_seed_choice(TRANSACTION, kms_text_span(kms_text_from(text)));
}

void fuzz_seeds(void)
{
	char text[2048], key[241];
	kms_p384 *own = hex_p384("0102");
	der_hex(key, own);
	envelope_response(text, key, NONCE, DATA);
	fuzz_seed_choice(ENVELOPE, kms_text_span(kms_text_from(text)));
	kms_p384_free(own);
	fuzz_seed_choice(PLAIN, KMS_BYTES("{\"plaintext\":\"{\\\"a\\\":\\u0031}\"}"));
	fuzz_seed_choice(SECRET, KMS_BYTES("{\"random_bytes\":\"0x" KEY "\"}"));
	fuzz_seed_choice(SIGNATURE,
			 KMS_BYTES("{\"signature\":\"0x" R S "1b\",\"address\":\"" OWN_ADDRESS "\"}"));
	seed_transaction();
	fuzz_seed_choice(VALUE, KMS_BYTES("{\"value\":\"AAEC/w==\",\"content_type\":null}"));
	for (uint8_t kind = 0; kind < KINDS; kind++)
		fuzz_seed_choice(kind, KMS_BYTES("[]"));
}
