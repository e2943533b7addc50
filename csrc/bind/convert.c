#include "bind/convert.h"

#include "bind/envelope.h"
#include "core/mem.h"

static void convert_release(void *object)
{
	kms_convert *convert = object;
	kms_buf_free(&convert->in);
	kms_buf_free(&convert->out);
	kms_bind_drop_loan(&convert->loan);
	kms_received_free(convert->source);
	kms_secret_unref(convert->secret);
	kms_heap_free(convert);
}

static const kms_bind_type convert_type = { "kms.convert", convert_release, NULL, false };

kms_convert *kms_convert_new(lua_State *L, kms_status (*run)(kms_convert *convert))
{
	void **box = kms_bind_new(L, &convert_type);
	kms_convert *convert = kms_heap_alloc(1, sizeof(*convert));
	if (!convert) return NULL;
	convert->run = run;
	convert->box = box;
	convert->out = kms_buf_make(KMS_BUF_PLAIN, CONVERT_MAX_BYTES);
	*box = convert;
	return convert;
}

static void convert_run(kms_job *job)
{
	kms_convert *convert = (kms_convert *)job;
	convert->status = convert->run(convert);
	/* As soon as possible, and not on the loop: wiping takes its time. */
	kms_buf_free(&convert->in);
	kms_secret_unref(convert->secret);
	convert->secret = NULL;
}

static int push_result(lua_State *L, kms_convert *convert)
{
	if (convert->status != KMS_OK && convert->field)
		return kms_bind_fail_text(
		    L, convert->status,
		    lua_pushfstring(L, "%s: %s", convert->field, kms_status_text(convert->status)));
	if (convert->status != KMS_OK) return kms_bind_fail(L, convert->status);
	if (convert->push) return convert->push(L, convert);
	return kms_bind_push_body(L, &convert->out) ? 1 : kms_bind_fail(L, KMS_ERR_MEMORY);
}

static int convert_finish(lua_State *L, kms_job *job)
{
	kms_convert *convert = (kms_convert *)job;
	kms_bind_give_back(&convert->loan);
	if (convert->source && convert->consumes) kms_received_drop(convert->source);
	if (convert->source) *convert->source_box = convert->source;
	convert->source = NULL;
	int results = push_result(L, convert);
	/* Now, not at the next collection. */
	*convert->box = NULL;
	convert_release(convert);
	return results;
}

int kms_convert_start(lua_State *L, kms_convert *convert, bool heavy)
{
	convert->job.run = convert_run;
	convert->job.finish = convert_finish;
	convert->job.heavy = heavy;
	return kms_job_start_small(L, &convert->job);
}

void kms_convert_define(lua_State *L)
{
	kms_bind_define(L, &convert_type);
}
