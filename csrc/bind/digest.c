/* Repair: exchanges about the hash tree, and messages that carry questions and answers. The tree: tree.c. */
#include "base/ensure.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "bind/body.h"
#include "bind/job.h"
#include "bind/options.h"
#include "bind/store.h"
#include "bind/sync.h"
#include "bind/topics.h"
#include "kms/codec.h"
#include "kms/digest.h"

#define MAX_BYTES ((lua_Integer)1 << 40)

static uint64_t arg_time(lua_State *L, int arg)
{
	return (uint64_t)bind_arg_integer(L, arg, 0, LUA_MAXINTEGER);
}

/* ---- messages --------------------------------------------------------------------------------- */

/*
 * A message: {"data":<records>,"digest":"<base64>", and `rest`, which ends it. Canonical as long as the names
 * in `rest` come after "digest".
 */
static kms_status write_message(kms_buf *body, const kms_buf *data, const kms_buf *digest, kms_text rest)
{
	GUARD(kms_buf_append_text(body, "{"));
	if (data->len > 0) {
		GUARD(kms_buf_append_text(body, "\"data\":"));
		GUARD(kms_buf_append(body, kms_buf_span(data)));
		GUARD(kms_buf_append_text(body, ","));
	}
	GUARD(kms_buf_append_text(body, "\"digest\":\""));
	GUARD(kms_buf_append_base64(body, kms_buf_span(digest)));
	GUARD(kms_buf_append_text(body, "\","));
	return kms_buf_append(body, kms_text_span(rest));
}

/* Decodes the base64 text of a message. Out: bytes - free in any case. */
static kms_status read_text(kms_buf *bytes, kms_text text)
{
	*bytes = kms_buf_make(KMS_BUF_PLAIN, KMS_SYNC_MAX_DIGEST);
	ENSURE(text.text, KMS_ERR_FIELD_MISSING);
	GUARD(kms_buf_reserve(bytes, kms_base64_bound(text.len)));
	return kms_base64_decode(bytes->data, &bytes->len, text);
}

/*
 * Members that hold the same tell each other so at every sync interval: their roots, in a hundred characters.
 * That takes microseconds, and a round trip to the pool for each step took longer than all of it.
 */
#define LIGHT_TEXT 128

static bool is_light(kms_store *store, kms_text text)
{
	return text.len <= LIGHT_TEXT && kms_tree_is_settled(store);
}

/* ---- answering -------------------------------------------------------------------------------- */

typedef struct answer_job {
	bind_job job;
	kms_store *store;  /* argument 1 */
	kms_text question; /* argument 2 */
	kms_text rest;     /* on the stack */
	size_t max_bytes;
	bool base64;
	uint64_t now_ms;
	kms_buf *body; /* in the userdata that is the result */
	int body_index;
	uint64_t records;
	kms_status status;
} answer_job;

static kms_status answer(answer_job *job)
{
	DEFER(kms_buf_free) kms_buf question = { 0 };
	DEFER(kms_buf_free) kms_buf text = kms_buf_make(KMS_BUF_PLAIN, KMS_DIGEST_MAX);
	DEFER(kms_buf_free) kms_buf data = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	GUARD(read_text(&question, job->question));
	GUARD(kms_digest_answer(&text, &data, &job->records, job->store, kms_buf_span(&question),
				job->max_bytes, job->base64, job->now_ms));
	return write_message(job->body, &data, &text, job->rest);
}

static void answer_run(bind_job *base)
{
	answer_job *job = (answer_job *)base;
	job->status = answer(job);
	if (job->status != KMS_OK) kms_buf_free(job->body);
}

static int answer_finish(lua_State *L, bind_job *base)
{
	answer_job *job = (answer_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->body_index);
	lua_pushinteger(L, (lua_Integer)job->records);
	return 2;
}

/*
 * store:digest_answer(question, { rest=, max_bytes=1 MiB, base64=false, now= })
 *   -> body (WIPED) of the reply, with `rest` as its end; records in it | nil, message, code
 * question: the text "digest" of a message.
 */
static int store_digest_answer(lua_State *L)
{
	static const char *const names[] = { "rest", "max_bytes", "base64", "now", NULL };
	kms_store *store = bind_check(L, 1, &bind_store_type);
	kms_text question = bind_arg_text(L, 2);
	bind_options_check(L, 3, names);
	lua_settop(L, 3);
	size_t max = (size_t)bind_option_integer(L, 3, "max_bytes", 1, MAX_BYTES, 1 << 20);
	uint64_t now_ms = (uint64_t)bind_option_integer(L, 3, "now", 0, LUA_MAXINTEGER, 0);
	bool base64 = bind_option_boolean(L, 3, "base64");
	kms_text rest = bind_option_text(L, 3, "rest");
	kms_buf empty = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	if (!bind_body_push(L, &empty)) return bind_fail(L, KMS_ERR_MEMORY);
	int body_index = lua_gettop(L);
	answer_job *job = bind_job_push(L, sizeof(*job), answer_run, answer_finish);
	job->job.heavy = !is_light(store, question);
	job->store = store;
	job->question = question;
	job->rest = rest;
	job->max_bytes = max;
	job->base64 = base64;
	job->now_ms = now_ms;
	job->body = *(kms_buf **)lua_touserdata(L, body_index);
	job->body_index = body_index;
	return bind_job_start_small(L, &job->job);
}

/* ---- asking ----------------------------------------------------------------------------------- */

/* An exchange with its last question and the records that go with it. */
typedef struct asking {
	kms_store *store; /* which the userdata keeps */
	kms_digest *digest;
	kms_buf question;
	kms_buf data;
} asking;

static void asking_release(void *object)
{
	asking *a = object;
	kms_digest_free(a->digest);
	kms_buf_free(&a->question);
	kms_buf_free(&a->data);
	kms_heap_free(a);
}

static int asking_ask(lua_State *L);
static int asking_body(lua_State *L);
static int asking_take(lua_State *L);
static int asking_state(lua_State *L);
static int asking_counts(lua_State *L);

static const luaL_Reg asking_methods[] = {
	{ "ask", asking_ask },     { "body", asking_body },     { "take", asking_take },
	{ "state", asking_state }, { "counts", asking_counts }, { NULL, NULL },
};
static const bind_type asking_type = { "kms.digest", asking_release, asking_methods, true };

typedef struct digest_job {
	bind_job job;
	kms_store *store; /* new: argument 1 */
	asking **held;    /* in a userdata: the result of new, argument 1 of the others, held */
	int result_index;
	kms_text answer; /* take: argument 2 */
	size_t max_bytes;
	uint64_t now_ms;
	uint64_t since;            /* new: of the changes that are sought */
	uint64_t forget_before_ms; /* new */
	bool brief;                /* new */
	bool base64;               /* ask */
	uint64_t until;
	uint64_t records;
	kms_status status;
} digest_job;

static kms_status make_asking(digest_job *job)
{
	asking *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	made->store = job->store;
	made->question = kms_buf_make(KMS_BUF_PLAIN, KMS_DIGEST_MAX);
	made->data = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	*job->held = made;
	GUARD(kms_digest_new(&made->digest, job->store, job->now_ms));
	kms_digest_forget_before(made->digest, job->forget_before_ms);
	if (job->brief) kms_digest_be_brief(made->digest);
	return kms_digest_seek(&job->until, made->digest, job->since);
}

static void new_run(bind_job *base)
{
	digest_job *job = (digest_job *)base;
	job->status = make_asking(job);
}

static int new_finish(lua_State *L, bind_job *base)
{
	const digest_job *job = (digest_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->result_index);
	lua_pushinteger(L, (lua_Integer)job->until);
	return 2;
}

/*
 * store:digest(now, since, forget_before=0, brief=false) -> an exchange about the hash tree, as the member
 * that asks; until | nil, message, code. It also asks for the values of stubs that changed above `since` up
 * to `until` (kms_digest_seek). forget_before: as kms_digest_forget_before; brief: as kms_digest_be_brief.
 */
static int store_digest(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	uint64_t now_ms = arg_time(L, 2);
	uint64_t since = (uint64_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER);
	uint64_t before_ms = lua_isnoneornil(L, 4) ? 0 : arg_time(L, 4);
	bool brief = lua_toboolean(L, 5);
	lua_settop(L, 2);
	asking **box = (asking **)bind_new(L, &asking_type);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1); /* the store is borrowed */
	digest_job *job = bind_job_push(L, sizeof(*job), new_run, new_finish);
	job->job.heavy = !kms_tree_is_settled(store) || since < kms_store_sequence(store);
	job->store = store;
	job->now_ms = now_ms;
	job->since = since;
	job->forget_before_ms = before_ms;
	job->brief = brief;
	job->held = box;
	job->result_index = 3;
	return bind_job_start_small(L, &job->job);
}

static digest_job *push_asking_job(lua_State *L, void (*run)(bind_job *job),
				   int (*finish)(lua_State *L, bind_job *job), bool heavy)
{
	digest_job *job = bind_job_push(L, sizeof(*job), run, finish);
	job->job.heavy = heavy;
	job->held = (asking **)bind_hold(L, 1, &asking_type);
	return job;
}

static void ask_run(bind_job *base)
{
	digest_job *job = (digest_job *)base;
	asking *a = *job->held;
	kms_buf_clear(&a->question);
	kms_buf_clear(&a->data);
	kms_digest_set_base64(a->digest, job->base64);
	job->status =
	    kms_digest_ask(&a->question, &a->data, &job->records, a->digest, job->max_bytes, job->now_ms);
}

static int ask_finish(lua_State *L, bind_job *base)
{
	digest_job *job = (digest_job *)base;
	bind_hold_end(L, 1, (void **)job->held);
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushinteger(L, (lua_Integer)job->records);
	return 1;
}

/*
 * exchange:ask(max_bytes, now, base64=false) -> records that go with the next question, with their values in
 * base64 or in hexadecimal | nil, message, code
 */
static int asking_ask(lua_State *L)
{
	const asking *a = bind_check(L, 1, &asking_type);
	/* The first question names the roots, which are known. */
	bool heavy = kms_digest_get_counts(a->digest).questions > 0;
	size_t max = (size_t)bind_arg_integer(L, 2, 1, MAX_BYTES);
	uint64_t now_ms = arg_time(L, 3);
	bool base64 = lua_toboolean(L, 4);
	lua_settop(L, 3);
	digest_job *job = push_asking_job(L, ask_run, ask_finish, heavy);
	job->base64 = base64;
	job->max_bytes = max;
	job->now_ms = now_ms;
	return bind_job_start_small(L, &job->job);
}

/* exchange:body(rest) -> body (WIPED) of a message with the last question, with `rest` as its end | nil,
 * message, code. It may be made more than once. */
static int asking_body(lua_State *L)
{
	const asking *a = bind_check(L, 1, &asking_type);
	kms_text rest = bind_arg_text(L, 2);
	kms_buf empty = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	if (!bind_body_push(L, &empty)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_status status = write_message(bind_body_check(L, lua_gettop(L)), &a->data, &a->question, rest);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

static void push_state(lua_State *L, const asking *a)
{
	static const char *const names[] = {
		[KMS_DIGEST_ASKING] = "asking",
		[KMS_DIGEST_EQUAL] = "equal",
		[KMS_DIGEST_DONE] = "done",
		[KMS_DIGEST_OTHER_KEY] = "other_key",
	};
	lua_pushstring(L, names[kms_digest_get_state(a->digest)]);
}

static void take_run(bind_job *base)
{
	digest_job *job = (digest_job *)base;
	DEFER(kms_buf_free) kms_buf text = { 0 };
	job->status = read_text(&text, job->answer);
	if (job->status == KMS_OK) job->status = kms_digest_take((*job->held)->digest, kms_buf_span(&text));
}

static int take_finish(lua_State *L, bind_job *base)
{
	digest_job *job = (digest_job *)base;
	bind_hold_end(L, 1, (void **)job->held);
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	push_state(L, bind_check(L, 1, &asking_type));
	return 1;
}

/* exchange:take(answer) -> its state: "asking", "equal", "done", "other_key" | nil, message, code
 * answer: the text "digest" of the reply, or nil. */
static int asking_take(lua_State *L)
{
	const asking *a = bind_check(L, 1, &asking_type);
	kms_text answer_text = bind_arg_text(L, 2);
	lua_settop(L, 2);
	digest_job *job = push_asking_job(L, take_run, take_finish, !is_light(a->store, answer_text));
	job->answer = answer_text;
	return bind_job_start_small(L, &job->job);
}

/* exchange:state() -> as take */
static int asking_state(lua_State *L)
{
	push_state(L, bind_check(L, 1, &asking_type));
	return 1;
}

/* exchange:counts() -> { questions=, given=, wanted=, forgotten=, sought= } */
static int asking_counts(lua_State *L)
{
	const asking *a = bind_check(L, 1, &asking_type);
	kms_digest_counts counts = kms_digest_get_counts(a->digest);
	lua_createtable(L, 0, 5);
	bind_set_integer(L, "questions", counts.questions);
	bind_set_integer(L, "forgotten", counts.forgotten);
	bind_set_integer(L, "sought", counts.sought);
	bind_set_integer(L, "given", counts.given);
	bind_set_integer(L, "wanted", counts.wanted);
	return 1;
}

void bind_add_digest(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "digest", store_digest },
		{ "digest_answer", store_digest_answer },
		{ NULL, NULL },
	};
	bind_define(L, &asking_type);
	bind_add_methods(L, &bind_store_type, methods);
}
