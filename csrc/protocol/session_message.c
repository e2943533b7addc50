/* Messages of a session, sealed and opened where they stand (kms/session.h has the format). */
#include <string.h>

#include "base/bits.h"
#include "base/declassify.h"
#include "base/ensure.h"
#include "kms/crypto.h"
#include "protocol/session_internal.h"

#define TIME 8   /* bytes of the time */
#define LENGTH 4 /* and of the JSON's length behind it */
#define FRONT (TIME + LENGTH)
#define LABEL "nova-kms"
#define LABEL_BYTES (sizeof(LABEL) - 1)

static size_t head_of(session_form form)
{
	return form == SESSION_REQUEST ? KMS_SESSION_HEAD : KMS_SESSION_ANSWER_HEAD;
}

static const uint8_t *key_of(session_form form, const session_keys *keys)
{
	return form == SESSION_REQUEST ? keys->c2s32 : keys->s2c32;
}

/* Bytes of content with its padding. False: more than a message may hold. */
static bool padded_size(size_t *size, size_t json_len)
{
	ENSURE(json_len <= KMS_SESSION_MAX_CONTENT - FRONT - KMS_SESSION_PADDING, false);
	*size = (FRONT + json_len + KMS_SESSION_PADDING - 1) / KMS_SESSION_PADDING * KMS_SESSION_PADDING;
	return true;
}

static bool holds_secrets(const kms_buf *message)
{
	return message->kind != KMS_BUF_PLAIN;
}

/* IV and additional data of the message with this number. */
typedef struct label {
	uint8_t iv12[KMS_GCM_IV];
	uint8_t aad[LABEL_BYTES + KMS_SESSION_HEAD];
} label;

static label label_of(const session_keys *keys, uint64_t seq)
{
	label made = { 0 };
	kms_store64_be(made.iv12 + 4, seq);
	memcpy(made.aad, LABEL, LABEL_BYTES);
	memcpy(made.aad + LABEL_BYTES, keys->sid16, KMS_SESSION_SID);
	kms_store64_be(made.aad + LABEL_BYTES + KMS_SESSION_SID, seq);
	return made;
}

static void write_head(uint8_t *head, session_form form, const session_keys *keys, uint64_t seq)
{
	if (form == SESSION_REQUEST) memcpy(head, keys->sid16, KMS_SESSION_SID);
	kms_store64_be(head + head_of(form) - 8, seq);
}

/* ---- sealing ------------------------------------------------------------------------------------------ */

kms_status kms_session_form_begin(kms_buf *message, session_form form, size_t json_len)
{
	size_t content, head = head_of(form);
	ENSURE_REF(message);
	ENSURE(holds_secrets(message) && message->len == 0, KMS_ERR_ARGUMENT);
	ENSURE(padded_size(&content, json_len), KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(message, head + content + KMS_GCM_TAG));
	memset(message->data, 0, head + FRONT);
	message->len = head + FRONT;
	return KMS_OK;
}

static kms_status seal_form(kms_buf *message, session_form form, const session_keys *keys, uint64_t seq,
			    uint64_t time_ms)
{
	size_t content, head = head_of(form);
	ENSURE(message->len >= head + FRONT, KMS_ERR_STATE);
	size_t json_len = message->len - head - FRONT;
	ENSURE(padded_size(&content, json_len), KMS_ERR_TOO_LARGE);
	size_t padding = content - FRONT - json_len;
	GUARD(kms_buf_reserve(message, padding + KMS_GCM_TAG));
	uint8_t *plain = message->data + head;
	memset(plain + FRONT + json_len, 0, padding);
	kms_store64_be(plain, time_ms);
	kms_store32_be(plain + TIME, (uint32_t)json_len);
	write_head(message->data, form, keys, seq);
	label named = label_of(keys, seq);
	GUARD(kms_gcm_seal_in_place(plain + content, kms_out_of(plain, content), key_of(form, keys),
				    named.iv12, KMS_SPAN(named.aad)));
	message->len = head + content + KMS_GCM_TAG;
	return KMS_OK;
}

kms_status kms_session_form_seal(kms_buf *message, session_form form, const session_keys *keys, uint64_t seq,
				 uint64_t time_ms)
{
	kms_status status = holds_secrets(message) ? KMS_OK : KMS_ERR_ARGUMENT;
	if (status == KMS_OK) status = seal_form(message, form, keys, seq, time_ms);
	if (status != KMS_OK) kms_buf_clear(message);
	return status;
}

kms_status kms_session_request_begin(kms_buf *message, size_t json_len)
{
	return kms_session_form_begin(message, SESSION_REQUEST, json_len);
}

kms_status kms_session_answer_begin(kms_buf *message, size_t json_len)
{
	return kms_session_form_begin(message, SESSION_ANSWER, json_len);
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static kms_status open_form(kms_span *plain, kms_buf *message, session_form form, const session_keys *keys,
			    uint64_t seq)
{
	uint8_t expected[KMS_SESSION_HEAD];
	size_t head = head_of(form);
	ENSURE(message->len >= head + KMS_SESSION_PADDING + KMS_GCM_TAG, KMS_ERR_DECRYPT);
	size_t content = message->len - head - KMS_GCM_TAG;
	ENSURE(content % KMS_SESSION_PADDING == 0 && content <= KMS_SESSION_MAX_CONTENT, KMS_ERR_DECRYPT);
	write_head(expected, form, keys, seq);
	ENSURE(kms_equal_ct(message->data, expected, head), KMS_ERR_DECRYPT);
	label named = label_of(keys, seq);
	uint8_t *bytes = message->data + head;
	GUARD(kms_gcm_open_in_place(kms_out_of(bytes, content), key_of(form, keys), named.iv12,
				    KMS_SPAN(named.aad), bytes + content));
	*plain = kms_span_of(bytes, content);
	return KMS_OK;
}

kms_status kms_session_form_open(kms_span *plain, kms_buf *message, session_form form,
				 const session_keys *keys, uint64_t seq)
{
	*plain = KMS_NO_BYTES;
	ENSURE(holds_secrets(message), KMS_ERR_ARGUMENT);
	kms_status status = open_form(plain, message, form, keys, seq);
	if (status != KMS_OK) kms_buf_clear(message);
	return status;
}

/* Looks at all of them, whatever they are: what is in the padding's place may be part of a secret. */
static bool all_zero(kms_span bytes)
{
	uint8_t any = 0;
	for (size_t i = 0; i < bytes.len; i++)
		any |= bytes.bytes[i];
	KMS_DECLASSIFY(any);
	return any == 0;
}

kms_status kms_session_content_read(kms_session_content *content, kms_span plain)
{
	*content = (kms_session_content){ 0 };
	uint64_t time_ms = kms_load64_be(plain.bytes);
	uint32_t json_len = kms_load32_be(plain.bytes + TIME);
	/* Whoever parses the JSON shows its length. */
	KMS_DECLASSIFY(json_len);
	KMS_DECLASSIFY(time_ms);
	ENSURE(json_len <= plain.len - FRONT, KMS_ERR_TRUNCATED);
	size_t used = FRONT + (size_t)json_len, padding = plain.len - used;
	ENSURE(padding < KMS_SESSION_PADDING, KMS_ERR_TRAILING);
	ENSURE(all_zero(kms_span_of(plain.bytes + used, padding)), KMS_ERR_TRAILING);
	*content = (kms_session_content){ time_ms, kms_text_of((const char *)plain.bytes + FRONT, json_len) };
	return KMS_OK;
}
