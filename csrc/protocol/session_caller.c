/* The caller's side of a session. */
#include "base/ensure.h"
#include "protocol/session_internal.h"

kms_status kms_session_caller_new(kms_session_caller **caller, kms_x25519 **own,
				  const kms_session_terms *terms)
{
	ENSURE_REF(own);
	DEFER(kms_x25519_release) kms_x25519 *key = *own;
	*own = NULL;
	ENSURE_REF(caller);
	*caller = NULL;
	kms_session_caller *made = kms_guarded_alloc(sizeof(*made));
	ENSURE(made, KMS_ERR_LOCKED_MEMORY);
	kms_status status = kms_session_keys_derive(&made->keys, &key, terms);
	if (status == KMS_OK && pthread_mutex_init(&made->lock, NULL) != 0) status = KMS_ERR_SYSTEM;
	if (status != KMS_OK) {
		kms_guarded_free(made);
		return status;
	}
	*caller = made;
	return KMS_OK;
}

void kms_session_caller_free(kms_session_caller *caller)
{
	if (!caller) return;
	(void)pthread_mutex_destroy(&caller->lock);
	kms_guarded_free(caller);
}

const uint8_t *kms_session_caller_salt(const kms_session_caller *caller)
{
	return caller->keys.salt32;
}

const uint8_t *kms_session_caller_sid(const kms_session_caller *caller)
{
	return caller->keys.sid16;
}

kms_status kms_session_caller_take(uint64_t *seq, kms_session_caller *caller)
{
	ENSURE_REF(seq);
	*seq = 0;
	ENSURE_REF(caller);
	pthread_mutex_lock(&caller->lock);
	if (caller->taken < KMS_SESSION_MAX_SEQ) *seq = ++caller->taken;
	pthread_mutex_unlock(&caller->lock);
	return *seq ? KMS_OK : KMS_ERR_STATE;
}

/* Whether a number was taken and has sealed nothing; from now on it has. */
static bool use(kms_session_caller *caller, uint64_t seq)
{
	pthread_mutex_lock(&caller->lock);
	bool good = seq <= caller->taken && kms_session_window_mark(&caller->sealed, seq);
	pthread_mutex_unlock(&caller->lock);
	return good;
}

kms_status kms_session_request_seal(kms_buf *message, kms_session_caller *caller, uint64_t seq,
				    uint64_t time_ms)
{
	ENSURE_REF(message);
	kms_status status = KMS_ERR_ARGUMENT;
	if (caller) status = use(caller, seq) ? KMS_OK : KMS_ERR_STATE;
	if (status != KMS_OK) {
		kms_buf_clear(message);
		return status;
	}
	return kms_session_form_seal(message, SESSION_REQUEST, &caller->keys, seq, time_ms);
}

static kms_status open_answer(kms_session_content *content, kms_buf *message,
			      const kms_session_caller *caller, uint64_t seq)
{
	kms_span plain;
	GUARD(kms_session_form_open(&plain, message, SESSION_ANSWER, &caller->keys, seq));
	kms_status status = kms_session_content_read(content, plain);
	if (status != KMS_OK) kms_buf_clear(message);
	return status;
}

kms_status kms_session_answer_open(kms_session_content *content, kms_buf *message,
				   const kms_session_caller *caller, uint64_t seq)
{
	ENSURE_REF(content);
	*content = (kms_session_content){ 0 };
	ENSURE_REF(message);
	ENSURE_REF(caller);
	return open_answer(content, message, caller, seq);
}
