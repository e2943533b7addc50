#include "bind/body_job.h"

#include "bind/envelope.h"
#include "base/mem.h"

/* Frees what it owns; it can be used anew then. */
static void convert_clear(kms_convert *convert)
{
	kms_buf_free(&convert->in);
	kms_buf_free(&convert->out);
	kms_bind_drop_loan(&convert->loan);
	kms_received_free(convert->source);
	kms_secret_unref(convert->secret);
	*convert = (kms_convert){ 0 };
}

static void convert_release(void *object)
{
	convert_clear(object);
	kms_heap_free(object);
}

static const kms_bind_type convert_type = { "kms.convert", convert_release, NULL, false };

/*
 * Some are kept, in a table: a request takes several, and making one costs as much as the work.
 * The last one of the list is the next one to be used; it stays in the table meanwhile.
 */
#define MAX_IDLE 64
static const char idle_key; /* its address is the table's key in the registry */
static int idle_count;      /* loop thread only */

kms_convert *kms_convert_new(lua_State *L, kms_status (*run)(kms_convert *convert))
{
	kms_convert *convert;
	if (idle_count) {
		lua_rawgetp(L, LUA_REGISTRYINDEX, &idle_key);
		lua_rawgeti(L, -1, idle_count--);
		lua_remove(L, -2);
		convert = *(kms_convert **)lua_touserdata(L, -1);
	} else {
		void **box = kms_bind_new(L, &convert_type);
		convert = kms_heap_alloc(1, sizeof(*convert));
		*box = convert;
	}
	if (!convert) return NULL;
	convert->run = run;
	convert->index = lua_gettop(L);
	convert->out = kms_buf_make(KMS_BUF_PLAIN, CONVERT_MAX_BYTES);
	return convert;
}

/* Keeps it for another time (may throw: it is clear by then). */
static void put_back(lua_State *L, int index)
{
	if (idle_count == MAX_IDLE) return;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &idle_key);
	lua_pushvalue(L, index);
	lua_rawseti(L, -2, idle_count + 1);
	lua_pop(L, 1);
	idle_count++;
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
	int results = push_result(L, convert), index = convert->index;
	convert_clear(convert);
	put_back(L, index);
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
	lua_newtable(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &idle_key);
	idle_count = 0;
}
