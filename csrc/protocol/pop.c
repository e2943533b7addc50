#include "kms/pop.h"

#include <string.h>

#include "base/ensure.h"
#include "kms/codec.h"

#define MAX_TIMESTAMP 15 /* digits: the year 31 million */
#define MAX_NONCE 128    /* bytes; a nonce of another implementation is opaque text */

/* A text to be signed, built in place. Nothing in it is secret. */
typedef struct message {
	char text[320];
	size_t len;
} message;

#define MAX_TEXT sizeof(((message *)NULL)->text)
#define HASH_TEXT 64 /* SHA-256 in hex */
#define RESPONSE "NovaKMS:Response:"

_Static_assert(sizeof("NovaKMS:PeerSession:") + MAX_NONCE + KMS_ADDRESS_TEXT + 20 + HASH_TEXT + 3 <= MAX_TEXT,
	       "PoP text fits");
_Static_assert(sizeof("NovaKMS:SessionAnswer:") + KMS_SIGNATURE_TEXT + KMS_ADDRESS_TEXT + HASH_TEXT + 2 <=
		   MAX_TEXT,
	       "response text fits");

/* The callers have checked the length of every part: see the assertions above. */
static void message_add(message *m, const char *text, size_t len)
{
	memcpy(m->text + m->len, text, len);
	m->len += len;
}

static void message_add_address(message *m, const uint8_t address20[20])
{
	char text[KMS_ADDRESS_TEXT];
	kms_address_format(text, address20);
	message_add(m, text, sizeof(text));
}

static void message_add_hash(message *m, const uint8_t digest32[32])
{
	kms_hex_encode(m->text + m->len, kms_span_of(digest32, 32));
	m->len += HASH_TEXT;
}

static bool is_session(kms_pop_domain domain)
{
	return domain == KMS_POP_APP_SESSION || domain == KMS_POP_PEER_SESSION;
}

static void pop_message(message *m, const kms_pop *pop, const uint8_t recipient20[20])
{
	static const char *const prefixes[] = {
		[KMS_POP_APP] = "NovaKMS:AppAuth:",
		[KMS_POP_PEER] = "NovaKMS:Auth:",
		[KMS_POP_APP_SESSION] = "NovaKMS:AppSession:",
		[KMS_POP_PEER_SESSION] = "NovaKMS:PeerSession:",
	};
	m->len = 0;
	message_add(m, prefixes[pop->domain], strlen(prefixes[pop->domain]));
	message_add(m, pop->nonce.text, pop->nonce.len);
	message_add(m, ":", 1);
	message_add_address(m, recipient20);
	message_add(m, ":", 1);
	message_add(m, pop->timestamp.text, pop->timestamp.len);
	if (!is_session(pop->domain)) return;
	message_add(m, ":", 1);
	message_add_hash(m, pop->body32);
}

static void response_message(message *m, const char *prefix, kms_text caller_signature,
			     const uint8_t node20[20])
{
	m->len = 0;
	message_add(m, prefix, strlen(prefix));
	message_add(m, caller_signature.text, caller_signature.len);
	message_add(m, ":", 1);
	message_add_address(m, node20);
}

static void session_answer_message(message *m, kms_text caller_signature, const uint8_t node20[20],
				   const uint8_t body32[32])
{
	response_message(m, "NovaKMS:SessionAnswer:", caller_signature, node20);
	message_add(m, ":", 1);
	message_add_hash(m, body32);
}

static bool is_present(kms_text text)
{
	return text.text && text.len;
}

/* A known domain, with the body's hash where it belongs. */
static bool is_complete(const kms_pop *pop)
{
	return (unsigned)pop->domain <= KMS_POP_PEER_SESSION &&
	       is_session(pop->domain) == (pop->body32 != NULL);
}

static kms_status check_timestamp(kms_text timestamp, uint64_t now_s, uint64_t window_s)
{
	uint64_t then_s;
	ENSURE(timestamp.len <= MAX_TIMESTAMP, KMS_ERR_POP_TIMESTAMP);
	ENSURE(kms_decimal_parse(&then_s, timestamp) == KMS_OK, KMS_ERR_POP_TIMESTAMP);
	uint64_t distance = then_s > now_s ? then_s - now_s : now_s - then_s;
	ENSURE(distance <= window_s, KMS_ERR_POP_TIMESTAMP);
	return KMS_OK;
}

static kms_status check_wallet(kms_text wallet, const uint8_t caller20[20])
{
	uint8_t named[20];
	if (!wallet.text) return KMS_OK;
	ENSURE(kms_address_parse(named, wallet) == KMS_OK, KMS_ERR_POP_WALLET);
	ENSURE(kms_equal_ct(named, caller20, sizeof(named)), KMS_ERR_POP_WALLET);
	return KMS_OK;
}

/* The wallet that signed the message; ERR_SIGNATURE when there is none. */
static kms_status recover_signer(uint8_t signer20[20], const message *m, kms_text signature)
{
	uint8_t sig[65];
	GUARD(kms_signature_parse(sig, signature));
	return kms_message_recover(signer20, kms_span_of(m->text, m->len), sig);
}

kms_status kms_pop_check(uint8_t caller20[20], kms_nonces *nonces, const kms_pop *pop,
			 const uint8_t own20[20], uint64_t now_s, uint64_t mono_s, uint64_t window_s)
{
	ENSURE_REF(caller20);
	memset(caller20, 0, 20);
	ENSURE_REF(nonces);
	ENSURE_REF(pop);
	ENSURE_REF(own20);
	ENSURE(is_complete(pop), KMS_ERR_ARGUMENT);
	message m;
	uint8_t signer[20];
	ENSURE(is_present(pop->signature) && is_present(pop->nonce) && is_present(pop->timestamp),
	       KMS_ERR_POP_MISSING);
	GUARD(check_timestamp(pop->timestamp, now_s, window_s));
	ENSURE(pop->nonce.len == KMS_NONCE_TEXT, KMS_ERR_POP_NONCE);
	GUARD(kms_nonces_consume(nonces, pop->nonce, mono_s));
	ENSURE(pop->signature.len <= KMS_SIGNATURE_TEXT, KMS_ERR_SIGNATURE);
	pop_message(&m, pop, own20);
	GUARD(recover_signer(signer, &m, pop->signature));
	GUARD(check_wallet(pop->wallet, signer));
	memcpy(caller20, signer, sizeof(signer));
	return KMS_OK;
}

static kms_status sign(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet, const message *m)
{
	uint8_t sig[65];
	GUARD(kms_wallet_sign_message(sig, wallet, kms_span_of(m->text, m->len)));
	kms_signature_format(signature132, sig);
	return KMS_OK;
}

static kms_status sign_pop(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet,
			   const kms_pop *pop, const uint8_t recipient20[20])
{
	ENSURE_REF(wallet);
	ENSURE_REF(pop->nonce.text);
	ENSURE_REF(recipient20);
	ENSURE(is_complete(pop), KMS_ERR_ARGUMENT);
	ENSURE(pop->nonce.len > 0 && pop->nonce.len <= MAX_NONCE, KMS_ERR_RANGE);
	message m;
	pop_message(&m, pop, recipient20);
	return sign(signature132, wallet, &m);
}

kms_status kms_pop_sign(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet,
			kms_pop_domain domain, kms_text nonce, const uint8_t recipient20[20],
			uint64_t timestamp_s)
{
	ENSURE_REF(signature132);
	memset(signature132, 0, KMS_SIGNATURE_TEXT);
	char digits[KMS_DECIMAL_MAX];
	const kms_pop pop = { .domain = domain,
			      .nonce = nonce,
			      .timestamp = kms_decimal_format(digits, timestamp_s) };
	return sign_pop(signature132, wallet, &pop, recipient20);
}

kms_status kms_pop_sign_session(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet,
				kms_pop_domain domain, kms_text nonce, const uint8_t recipient20[20],
				uint64_t timestamp_s, const uint8_t body32[32])
{
	ENSURE_REF(signature132);
	memset(signature132, 0, KMS_SIGNATURE_TEXT);
	char digits[KMS_DECIMAL_MAX];
	const kms_pop pop = { .domain = domain,
			      .nonce = nonce,
			      .timestamp = kms_decimal_format(digits, timestamp_s),
			      .body32 = body32 };
	ENSURE_REF(body32);
	return sign_pop(signature132, wallet, &pop, recipient20);
}

kms_status kms_pop_text(kms_buf *text, const kms_pop *pop, const uint8_t recipient20[20])
{
	ENSURE_REF(text);
	ENSURE_REF(pop);
	ENSURE_REF(recipient20);
	ENSURE(is_complete(pop), KMS_ERR_ARGUMENT);
	ENSURE(is_present(pop->nonce) && pop->nonce.len <= MAX_NONCE, KMS_ERR_RANGE);
	ENSURE(is_present(pop->timestamp) && pop->timestamp.len <= MAX_TIMESTAMP, KMS_ERR_RANGE);
	message m;
	pop_message(&m, pop, recipient20);
	return kms_buf_append(text, kms_span_of(m.text, m.len));
}

static bool can_be_signed(kms_text caller_signature)
{
	return caller_signature.len > 0 && caller_signature.len <= KMS_SIGNATURE_TEXT;
}

kms_status kms_response_sign(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet,
			     kms_text caller_signature)
{
	ENSURE_REF(signature132);
	memset(signature132, 0, KMS_SIGNATURE_TEXT);
	ENSURE_REF(wallet);
	ENSURE_REF(caller_signature.text);
	ENSURE(can_be_signed(caller_signature), KMS_ERR_RANGE);
	message m;
	uint8_t own[20];
	kms_wallet_address(own, wallet);
	response_message(&m, RESPONSE, caller_signature, own);
	return sign(signature132, wallet, &m);
}

kms_status kms_session_answer_sign(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet,
				   kms_text caller_signature, const uint8_t body32[32])
{
	ENSURE_REF(signature132);
	memset(signature132, 0, KMS_SIGNATURE_TEXT);
	ENSURE_REF(wallet);
	ENSURE_REF(caller_signature.text);
	ENSURE_REF(body32);
	ENSURE(can_be_signed(caller_signature), KMS_ERR_RANGE);
	message m;
	uint8_t own[20];
	kms_wallet_address(own, wallet);
	session_answer_message(&m, caller_signature, own, body32);
	return sign(signature132, wallet, &m);
}

static kms_status check_signer(const message *m, kms_text signature, const uint8_t node20[20])
{
	uint8_t signer[20];
	GUARD(recover_signer(signer, m, signature));
	ENSURE(kms_equal_ct(signer, node20, sizeof(signer)), KMS_ERR_SIGNATURE);
	return KMS_OK;
}

kms_status kms_response_check(kms_text response_signature, kms_text caller_signature,
			      const uint8_t node20[20])
{
	ENSURE_REF(node20);
	ENSURE(is_present(response_signature) && is_present(caller_signature), KMS_ERR_SIGNATURE);
	ENSURE(caller_signature.len <= KMS_SIGNATURE_TEXT, KMS_ERR_RANGE);
	message m;
	response_message(&m, RESPONSE, caller_signature, node20);
	return check_signer(&m, response_signature, node20);
}

kms_status kms_session_answer_check(kms_text answer_signature, kms_text caller_signature,
				    const uint8_t node20[20], const uint8_t body32[32])
{
	ENSURE_REF(node20);
	ENSURE_REF(body32);
	ENSURE(is_present(answer_signature) && is_present(caller_signature), KMS_ERR_SIGNATURE);
	ENSURE(caller_signature.len <= KMS_SIGNATURE_TEXT, KMS_ERR_RANGE);
	message m;
	session_answer_message(&m, caller_signature, node20, body32);
	return check_signer(&m, answer_signature, node20);
}
