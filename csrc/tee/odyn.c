/* Bodies of the Odyn service (kms/odyn.h). */
#include "kms/odyn.h"

#include <string.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "tee/odyn_internal.h"

#define MAX_VALUES 64     /* values and keys of a response; other members are ignored, within this bound */
#define MAX_NONCE 64      /* bytes; envelopes use the first 12 */
#define MAX_RAW (1 << 20) /* bytes of a transaction */
#define TX_TYPE 0x02
#define PIECE 1024

/* ---- hexadecimal --------------------------------------------------------------------------- */

/* Checks digits of any case and appends them in lower case; nothing on failure. */
static kms_status append_digits(kms_buf *out, kms_text hex)
{
	uint8_t piece[PIECE]; /* ciphertext: no need to wipe */
	ENSURE(hex.len % 2 == 0, KMS_ERR_HEX);
	GUARD(kms_buf_reserve(out, hex.len));
	size_t before = out->len;
	while (hex.len) {
		size_t part = hex.len / 2 < PIECE ? hex.len / 2 : PIECE;
		kms_status status = kms_hex_decode(kms_out_of(piece, part), kms_text_of(hex.text, 2 * part));
		if (status == KMS_OK) status = kms_buf_append_hex(out, kms_span_of(piece, part));
		if (status != KMS_OK) {
			out->len = before;
			return status;
		}
		hex = kms_text_of(hex.text + 2 * part, hex.len - 2 * part);
	}
	return KMS_OK;
}

static kms_status append_key(kms_buf *out, const uint8_t peer97[97])
{
	uint8_t der[KMS_P384_DER];
	kms_p384_der(der, peer97);
	GUARD(kms_buf_append_text(out, "{\"client_public_key\":\"0x"));
	return kms_buf_append_hex(out, KMS_SPAN(der));
}

/* ---- requests --------------------------------------------------------------------------------- */

static kms_status append_decrypt(kms_buf *request, const kms_envelope *envelope, const uint8_t peer97[97])
{
	GUARD(append_key(request, peer97));
	GUARD(kms_buf_append_text(request, "\",\"encrypted_data\":\"0x"));
	GUARD(append_digits(request, envelope->hex));
	GUARD(kms_buf_append_text(request, "\",\"nonce\":\"0x"));
	GUARD(append_digits(request, envelope->nonce));
	return kms_buf_append_text(request, "\"}");
}

kms_status kms_odyn_decrypt_request(kms_buf *request, const kms_envelope *envelope, const uint8_t peer97[97])
{
	ENSURE_REF(request);
	ENSURE_REF(envelope);
	ENSURE_REF(peer97);
	ENSURE(envelope->hex.text && envelope->nonce.text, KMS_ERR_ARGUMENT);
	size_t start = request->len;
	kms_status status = append_decrypt(request, envelope, peer97);
	if (status != KMS_OK) request->len = start;
	return status;
}

static kms_status append_encrypt(kms_buf *request, kms_text plain, const uint8_t peer97[97])
{
	GUARD(append_key(request, peer97));
	GUARD(kms_buf_append_text(request, "\",\"plaintext\":"));
	GUARD(kms_buf_append_json(request, plain));
	return kms_buf_append_text(request, "}");
}

kms_status kms_odyn_encrypt_request(kms_buf *request, kms_text plain, const uint8_t peer97[97])
{
	ENSURE_REF(request);
	ENSURE_REF(peer97);
	ENSURE(plain.text || !plain.len, KMS_ERR_ARGUMENT);
	ENSURE(request->kind != KMS_BUF_PLAIN, KMS_ERR_ARGUMENT);
	size_t start = request->len;
	kms_status status = append_encrypt(request, plain, peer97);
	if (status == KMS_OK) return KMS_OK;
	if (request->data) kms_wipe(request->data + start, request->len - start);
	request->len = start;
	return status;
}

/* ---- responses -------------------------------------------------------------------------------- */

/* A parsed response and the member read last, which is the one at fault after a failure. */
typedef struct reading {
	kms_json json;
	const char *field;
} reading;

static void reading_end(reading *r)
{
	kms_json_free(&r->json);
}

/* A malformed response is the fault of the service (ERR_TEE); a shortage of this process is not. */
kms_status kms_odyn_blame(kms_status status)
{
	kms_category category = kms_status_category(status);
	bool ours = status == KMS_OK || category == KMS_CATEGORY_BUSY || category == KMS_CATEGORY_SYSTEM ||
		    category == KMS_CATEGORY_USAGE;
	return ours ? status : KMS_ERR_TEE;
}

static kms_status report(const char **field, const reading *r, kms_status status)
{
	kms_status blamed = kms_odyn_blame(status);
	if (blamed == KMS_ERR_TEE) *field = r->field;
	return blamed;
}

static kms_status read_object(reading *r, kms_buf *response)
{
	GUARD(kms_json_parse(&r->json, (char *)response->data, response->len, MAX_VALUES));
	ENSURE(r->json.values[0].type == KMS_JSON_OBJECT, KMS_ERR_TEE);
	return KMS_OK;
}

/* Reads a member that must be text. */
static kms_status read_text(kms_text *text, reading *r, const char *name)
{
	r->field = name;
	const kms_json_value *value = kms_json_get(&r->json, &r->json.values[0], name);
	ENSURE(value && value->type == KMS_JSON_STRING, KMS_ERR_TEE);
	*text = (kms_text){ value->text, value->len };
	return KMS_OK;
}

/* Reads a member of whole bytes in hexadecimal; removes 0x, does not check the digits. */
static kms_status read_hex(kms_text *hex, reading *r, const char *name)
{
	GUARD(read_text(hex, r, name));
	*hex = kms_hex_strip(*hex);
	ENSURE(hex->len % 2 == 0, KMS_ERR_TEE);
	return KMS_OK;
}

static kms_status read_bytes(uint8_t *bytes, size_t len, reading *r, const char *name)
{
	kms_text hex;
	GUARD(read_hex(&hex, r, name));
	return kms_hex_decode(kms_out_of(bytes, len), hex);
}

static kms_status read_own_address(reading *r, const uint8_t own20[20])
{
	kms_text text;
	uint8_t address[20];
	GUARD(read_text(&text, r, "address"));
	GUARD(kms_address_parse(address, text));
	ENSURE(kms_equal_ct(address, own20, sizeof(address)), KMS_ERR_TEE);
	return KMS_OK;
}

/* ---- plaintext ---- */

void kms_odyn_adopt(kms_buf *out, kms_buf *response, kms_text text)
{
	size_t max = out->max;
	memmove(response->data, text.text, text.len);
	kms_wipe(response->data + text.len, response->len - text.len);
	*out = *response;
	out->len = text.len;
	out->max = max;
	*response = kms_buf_make(response->kind, response->max);
}

static kms_status read_plain(kms_buf *plain, reading *r, kms_buf *response)
{
	kms_text text;
	GUARD(read_object(r, response));
	GUARD(read_text(&text, r, "plaintext"));
	if (plain->kind == KMS_BUF_GUARDED) return kms_buf_append(plain, kms_text_span(text));
	ENSURE(text.len <= plain->max, KMS_ERR_TOO_LARGE);
	kms_odyn_adopt(plain, response, text);
	return KMS_OK;
}

kms_status kms_odyn_plain(kms_buf *plain, const char **field, kms_buf *response)
{
	ENSURE_REF(plain);
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(response);
	kms_status status = KMS_ERR_ARGUMENT;
	if (plain->kind != KMS_BUF_PLAIN && !plain->data && response->kind == KMS_BUF_WIPED) {
		DEFER(reading_end) reading r = { 0 };
		status = report(field, &r, read_plain(plain, &r, response));
	}
	kms_buf_free(response);
	return status;
}

/* ---- envelope ---- */

static kms_status append_envelope(kms_buf *body, reading *r, const uint8_t own97[97], size_t plain_len)
{
	kms_text data, nonce;
	uint8_t der[KMS_P384_DER], own[KMS_P384_DER];
	kms_p384_der(own, own97);
	GUARD(read_bytes(der, sizeof(der), r, "enclave_public_key"));
	ENSURE(kms_equal_ct(der, own, sizeof(own)), KMS_ERR_TEE);
	GUARD(read_hex(&nonce, r, "nonce"));
	ENSURE(nonce.len >= 2 * KMS_GCM_IV && nonce.len <= 2 * MAX_NONCE, KMS_ERR_TEE);
	GUARD(read_hex(&data, r, "encrypted_data"));
	ENSURE(data.len >= 2 * KMS_GCM_TAG, KMS_ERR_TEE);
	bool fits = plain_len == SIZE_MAX || data.len / 2 - KMS_GCM_TAG == plain_len;
	ENSURE(fits, KMS_ERR_TEE);

	GUARD(kms_buf_reserve(body, data.len + nonce.len + 2 * sizeof(own) + 64));
	GUARD(kms_buf_append_text(body, "{\"encrypted_data\":\""));
	GUARD(append_digits(body, data));
	r->field = "nonce";
	GUARD(kms_buf_append_text(body, "\",\"nonce\":\""));
	GUARD(append_digits(body, nonce));
	GUARD(kms_buf_append_text(body, "\",\"sender_tee_pubkey\":\""));
	GUARD(kms_buf_append_hex(body, KMS_SPAN(own)));
	return kms_buf_append_text(body, "\"}");
}

kms_status kms_odyn_envelope(const char **field, kms_buf *body, kms_buf *response, const uint8_t own97[97],
			     size_t plain_len)
{
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(body);
	ENSURE_REF(response);
	ENSURE_REF(own97);
	DEFER(reading_end) reading r = { 0 };
	size_t start = body->len;
	kms_status status = read_object(&r, response);
	if (status == KMS_OK) status = append_envelope(body, &r, own97, plain_len);
	if (status != KMS_OK) body->len = start;
	return report(field, &r, status);
}

/* ---- random bytes ---- */

static kms_status read_secret(kms_secret **secret32, reading *r, kms_buf *response)
{
	kms_text hex;
	GUARD(read_object(r, response));
	GUARD(read_text(&hex, r, "random_bytes"));
	return kms_secret_from_hex(secret32, hex, 32);
}

kms_status kms_odyn_secret(kms_secret **secret32, const char **field, kms_buf *response)
{
	ENSURE_REF(secret32);
	*secret32 = NULL;
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(response);
	DEFER(reading_end) reading r = { 0 };
	return report(field, &r, read_secret(secret32, &r, response));
}

/* ---- signatures and transactions ---- */

static kms_status read_signature(uint8_t sig65[65], reading *r, kms_buf *response, const uint8_t own20[20])
{
	kms_text text;
	GUARD(read_object(r, response));
	GUARD(read_own_address(r, own20));
	GUARD(read_text(&text, r, "signature"));
	return kms_signature_parse(sig65, text);
}

kms_status kms_odyn_signature(char signature132[KMS_SIGNATURE_TEXT], const char **field, kms_buf *response,
			      const uint8_t own20[20])
{
	ENSURE_REF(signature132);
	memset(signature132, 0, KMS_SIGNATURE_TEXT);
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(response);
	ENSURE_REF(own20);
	uint8_t sig[65];
	DEFER(reading_end) reading r = { 0 };
	kms_status status = read_signature(sig, &r, response, own20);
	if (status == KMS_OK) kms_signature_format(signature132, sig);
	return report(field, &r, status);
}

static kms_status read_transaction(uint8_t hash32[32], kms_buf *raw, reading *r, const uint8_t own20[20])
{
	kms_text hex;
	uint8_t told[32];
	GUARD(read_own_address(r, own20));
	GUARD(read_bytes(told, sizeof(told), r, "transaction_hash"));
	GUARD(read_hex(&hex, r, "raw_transaction"));
	size_t len = hex.len / 2;
	ENSURE(len > 1 && len <= MAX_RAW, KMS_ERR_TEE);
	GUARD(kms_buf_reserve(raw, len));
	uint8_t *bytes = raw->data + raw->len;
	GUARD(kms_hex_decode(kms_out_of(bytes, len), hex));
	ENSURE(bytes[0] == TX_TYPE, KMS_ERR_TEE);
	r->field = "transaction_hash";
	kms_keccak256(hash32, kms_span_of(bytes, len));
	ENSURE(kms_equal_ct(hash32, told, sizeof(told)), KMS_ERR_TEE);
	raw->len += len;
	return KMS_OK;
}

kms_status kms_odyn_transaction(uint8_t hash32[32], const char **field, kms_buf *raw, kms_buf *response,
				const uint8_t own20[20])
{
	ENSURE_REF(hash32);
	memset(hash32, 0, 32);
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(raw);
	ENSURE_REF(response);
	ENSURE_REF(own20);
	DEFER(reading_end) reading r = { 0 };
	kms_status status = read_object(&r, response);
	if (status == KMS_OK) status = read_transaction(hash32, raw, &r, own20);
	if (status != KMS_OK) memset(hash32, 0, 32);
	return report(field, &r, status);
}
