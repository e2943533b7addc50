/* The node's side of one request and its one answer. */
#include <stdatomic.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "protocol/session_table_internal.h"

struct kms_session_call {
	kms_session *session; /* a reference */
	uint64_t seq;
	atomic_bool answered;
	kms_status content_status; /* of the content: the rest of the request is in its buffer */
	kms_session_content content;
};

kms_status kms_session_head_parse(uint8_t sid16[16], uint64_t *seq, kms_span message)
{
	ENSURE_REF(sid16);
	memset(sid16, 0, KMS_SESSION_SID);
	ENSURE_REF(seq);
	*seq = 0;
	const uint8_t *sid, *number;
	kms_reader reader = kms_reader_make(message);
	GUARD(kms_reader_take(&sid, &reader, KMS_SESSION_SID));
	GUARD(kms_reader_take(&number, &reader, KMS_SESSION_HEAD - KMS_SESSION_SID));
	uint64_t read = kms_load64_be(number);
	ENSURE(read >= 1 && read <= KMS_SESSION_MAX_SEQ, KMS_ERR_FIELD_VALUE);
	memcpy(sid16, sid, KMS_SESSION_SID);
	*seq = read;
	return KMS_OK;
}

static kms_status open_request(kms_session_call *call, kms_buf *message, kms_session *session, uint64_t now_s)
{
	uint8_t sid[KMS_SESSION_SID];
	kms_span plain;
	GUARD(kms_session_head_parse(sid, &call->seq, kms_buf_span(message)));
	ENSURE(kms_equal_ct(sid, session->keys.sid16, sizeof(sid)), KMS_ERR_NOT_FOUND);
	/* A copy costs no decryption; and the place of a request that is open already stays as it is. */
	GUARD(kms_session_test(session, call->seq));
	GUARD(kms_session_form_open(&plain, message, SESSION_REQUEST, &session->keys, call->seq));
	kms_status status = kms_session_mark(session, call->seq, now_s);
	if (status != KMS_OK) {
		kms_buf_clear(message);
		return status;
	}
	call->content_status = kms_session_content_read(&call->content, plain);
	return KMS_OK;
}

kms_status kms_session_request_open(kms_session_call **call, kms_buf *message, kms_session *session,
				    uint64_t now_s)
{
	ENSURE_REF(call);
	*call = NULL;
	ENSURE_REF(message);
	ENSURE_REF(session);
	/* Before the number is marked: a request that is marked has a call. */
	DEFER(kms_session_call_release) kms_session_call *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	atomic_init(&made->answered, false);
	GUARD(open_request(made, message, session, now_s));
	made->session = kms_session_ref(session);
	*call = made;
	made = NULL;
	return KMS_OK;
}

void kms_session_call_free(kms_session_call *call)
{
	if (!call) return;
	/* Its number is marked: the caller would wait for an answer that nobody can seal any more. */
	if (call->session && !atomic_load(&call->answered)) kms_session_end(call->session);
	kms_session_unref(call->session);
	kms_heap_free(call);
}

kms_status kms_session_call_content(kms_session_content *content, const kms_session_call *call)
{
	ENSURE_REF(content);
	*content = (kms_session_content){ 0 };
	ENSURE_REF(call);
	GUARD(call->content_status);
	*content = call->content;
	return KMS_OK;
}

kms_session *kms_session_call_session(const kms_session_call *call)
{
	return call->session;
}

uint64_t kms_session_call_seq(const kms_session_call *call)
{
	return call->seq;
}

kms_status kms_session_answer_seal(kms_buf *message, kms_session_call *call, uint64_t time_ms)
{
	ENSURE_REF(message);
	ENSURE_REF(call);
	if (atomic_exchange(&call->answered, true)) {
		kms_buf_clear(message);
		return KMS_ERR_STATE;
	}
	kms_status status =
	    kms_session_form_seal(message, SESSION_ANSWER, &call->session->keys, call->seq, time_ms);
	if (status != KMS_OK) kms_session_end(call->session);
	return status;
}
