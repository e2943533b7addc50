/* Sessions opened by an application (client_session.h). */
#include "kms/client_session.h"

#include <string.h>

#include "base/ensure.h"
#include "kms/crypto.h"
#include "kms/envelope.h"
#include "protocol/client_internal.h"

#define MAX_OFFER 1024
#define MAX_BODY ((size_t)64 << 10)
#define MAX_TEXT 1024

/* ---- asking -------------------------------------------------------------------------------------------- */

static kms_status seal_offer(kms_client_opening *opening, const kms_client *client,
			     const kms_session_offer *ends)
{
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, MAX_OFFER);
	kms_session_offer offer = { 0 };
	if (ends) offer = *ends;
	memcpy(offer.e32, kms_x25519_public(opening->own), sizeof(offer.e32));
	GUARD(kms_session_offer_write(&plain, &offer));
	return kms_envelope_seal(&opening->body, client->channel, client->own97, kms_buf_span(&plain));
}

static kms_status sign_offer(kms_client_opening *opening, const kms_client *client, kms_text nonce,
			     uint64_t timestamp_s)
{
	uint8_t body32[32];
	char digits[KMS_DECIMAL_MAX];
	GUARD(kms_sha256(body32, kms_buf_span(&opening->body)));
	const kms_pop pop = {
		.domain = KMS_POP_APP_SESSION,
		.nonce = nonce,
		.timestamp = kms_decimal_format(digits, timestamp_s),
		.body32 = body32,
	};
	GUARD(kms_pop_text(&opening->text, &pop, client->node20));
	return kms_pop_sign_session(opening->signature132, client->wallet, KMS_POP_APP_SESSION, nonce,
				    client->node20, timestamp_s, body32);
}

kms_status kms_client_opening_begin(kms_client_opening *opening, const kms_client *client,
				    const kms_session_offer *ends, kms_text nonce, uint64_t timestamp_s)
{
	ENSURE_REF(opening);
	memset(opening, 0, sizeof(*opening));
	ENSURE_REF(client);
	opening->text = kms_buf_make(KMS_BUF_PLAIN, MAX_TEXT);
	opening->body = kms_buf_make(KMS_BUF_PLAIN, MAX_BODY);
	kms_status status = kms_x25519_generate(&opening->own);
	if (status == KMS_OK) status = seal_offer(opening, client, ends);
	if (status == KMS_OK) status = sign_offer(opening, client, nonce, timestamp_s);
	if (status != KMS_OK) kms_client_opening_clear(opening);
	return status;
}

void kms_client_opening_clear(kms_client_opening *opening)
{
	if (!opening) return;
	kms_buf_free(&opening->text);
	kms_buf_free(&opening->body);
	kms_x25519_free(opening->own);
	memset(opening, 0, sizeof(*opening));
}

/* ---- the answer ----------------------------------------------------------------------------------- */

static kms_status open_grant(kms_session_grant *grant, kms_buf *body, const kms_client *client)
{
	const char *field;
	kms_envelope envelope;
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, MAX_BODY);
	ENSURE(body->len, KMS_ERR_ENVELOPE);
	GUARD(kms_envelope_parse(&envelope, (char *)body->data, body->len));
	GUARD(kms_envelope_check_sender(&envelope, client->node97));
	GUARD(kms_envelope_open(&plain, &envelope, client->channel));
	return kms_session_grant_parse(grant, &field, &plain);
}

static kms_status finish(kms_session_caller **session, kms_session_grant *grant, kms_client_opening *opening,
			 kms_buf *body, const kms_client *client, kms_text answer_signature)
{
	uint8_t body32[32];
	kms_session_terms terms;
	kms_text own_signature = { opening->signature132, sizeof(opening->signature132) };
	/* Both hashes are of the body as received: parsing changes it. */
	GUARD(kms_sha256(body32, kms_buf_span(body)));
	GUARD(kms_session_answer_check(answer_signature, own_signature, client->node20, body32));
	GUARD(kms_session_salt(terms.salt32, kms_buf_span(&opening->text), kms_buf_span(&opening->body),
			       kms_buf_span(body)));
	GUARD(open_grant(grant, body, client));
	memcpy(terms.sid16, grant->sid16, sizeof(terms.sid16));
	memcpy(terms.peer_e32, grant->e32, sizeof(terms.peer_e32));
	return kms_session_caller_new(session, &opening->own, &terms);
}

kms_status kms_client_opening_finish(kms_session_caller **session, kms_session_grant *grant,
				     kms_client_opening *opening, kms_buf *body, const kms_client *client,
				     kms_text answer_signature)
{
	ENSURE_REF(session);
	*session = NULL;
	ENSURE_REF(grant);
	*grant = (kms_session_grant){ 0 };
	ENSURE(opening && body && client, KMS_ERR_ARGUMENT);
	ENSURE(opening->own, KMS_ERR_STATE);
	kms_status status = finish(session, grant, opening, body, client, answer_signature);
	kms_x25519_free(opening->own);
	opening->own = NULL;
	if (status != KMS_OK) *grant = (kms_session_grant){ 0 };
	return status;
}
