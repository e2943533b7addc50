/*
 * Sessions of an application (kms/client_session.h). Lua gets handles, numbers and public names; keys, values
 * and the content of messages stay in guarded memory.
 */
#include "bind/client.h"

#include <string.h>

#include "bind/body.h"
#include "bind/options.h"
#include "bind/session.h"
#include "bind/topics.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "kms/client_session.h"

#define MAX_LINE ((size_t)64 << 20)

/* ---- sessions ------------------------------------------------------------------------------------- */

static void session_release(void *object)
{
	kms_session_caller_free(object);
}

/* session:sid() -> its 16 bytes, which are public */
static int session_sid(lua_State *L);

static const luaL_Reg session_methods[] = { { "sid", session_sid }, { NULL, NULL } };
/* session:close() erases its keys. */
static const bind_type session_type = { "kms.client_session", session_release, session_methods, true };

static int session_sid(lua_State *L)
{
	const kms_session_caller *session = bind_check(L, 1, &session_type);
	lua_pushlstring(L, (const char *)kms_session_caller_sid(session), KMS_SESSION_SID);
	return 1;
}

/* ---- openings ------------------------------------------------------------------------------------- */

static void opening_release(void *object)
{
	kms_client_opening_clear(object);
	kms_heap_free(object);
}

/*
 * opening:finish(answer_signature, body) -> session, expires_s, max_operations | nil, message, code
 * body: of the answer, a string or nil. Works once.
 */
static int opening_finish(lua_State *L);

static const luaL_Reg opening_methods[] = { { "finish", opening_finish }, { NULL, NULL } };
static const bind_type opening_type = { "kms.client_opening", opening_release, opening_methods, true };

/*
 * client:open_session(ends, nonce, unix_seconds) -> opening, signature, body | nil, message, code
 * ends: list of sids that were given up; the last KMS_SESSION_MAX_ENDS are named.
 */
static int client_open_session(lua_State *L)
{
	const kms_client *client = bind_check(L, 1, &bind_client_type);
	kms_session_offer ends = bind_arg_ends(L, 2);
	kms_text nonce = { NULL, 0 };
	nonce.text = luaL_checklstring(L, 3, &nonce.len);
	uint64_t now_s = (uint64_t)bind_arg_integer(L, 4, 0, LUA_MAXINTEGER);

	void **box = bind_new(L, &opening_type);
	kms_client_opening *opening = kms_heap_alloc(1, sizeof(*opening));
	if (!opening) return bind_fail(L, KMS_ERR_MEMORY);
	*box = opening;
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1); /* it belongs to the client */
	kms_status status = kms_client_opening_begin(opening, client, &ends, nonce, now_s);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushlstring(L, opening->signature132, sizeof(opening->signature132));
	lua_pushlstring(L, (const char *)opening->body.data, opening->body.len);
	return 3;
}

static int opening_finish(lua_State *L)
{
	kms_session_grant grant;
	kms_client_opening *opening = bind_check(L, 1, &opening_type);
	kms_text signature = bind_arg_text(L, 2);
	kms_text answer = bind_arg_text(L, 3);
	lua_getiuservalue(L, 1, 1);
	const kms_client *client = bind_check(L, lua_gettop(L), &bind_client_type);

	/* The answer is decoded where it stands: in a copy, which a handle owns in case a push throws. */
	kms_buf none = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_buf *body = bind_body_check(L, lua_gettop(L));
	kms_status status = answer.len ? kms_buf_append(body, kms_text_span(answer)) : KMS_OK;
	kms_session_caller **session = (kms_session_caller **)bind_new(L, &session_type);
	if (status == KMS_OK)
		status = kms_client_opening_finish(session, &grant, opening, body, client, signature);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushinteger(L, (lua_Integer)(grant.expires_s & LUA_MAXINTEGER));
	lua_pushinteger(L, (lua_Integer)(grant.max_operations & LUA_MAXINTEGER));
	return 3;
}

/* ---- messages ------------------------------------------------------------------------------------- */

static void message_release(void *object)
{
	kms_client_message_free(object);
}

/*
 * message:add(kind, fields) -> true | false: there is no room for it | nil, message, code
 * fields: as client:begin takes them.
 */
static int message_add(lua_State *L);

/* message:seal(session, unix_ms) -> body (handle), seq | nil, message, code. Again: under another number. */
static int message_seal(lua_State *L);

/*
 * message:open(session, seq, body) -> results | nil, message, code
 * body: of the answer, a handle or a string. results: a list with the fields of each result as client:finish
 * gives them and its `exchange`, or `status`, `code`, `message`, retry_after_s and `exchange` of a refusal;
 * false, for an operation whose result is none; whole: the one refusal of all operations.
 */
static int message_open(lua_State *L);

static const luaL_Reg message_methods[] = {
	{ "add", message_add }, { "seal", message_seal }, { "open", message_open }, { NULL, NULL }
};
static const bind_type message_type = { "kms.client_message", message_release, message_methods, true };

static int push_added(lua_State *L, kms_status status)
{
	if (status != KMS_OK && status != KMS_ERR_BUSY) return bind_fail(L, status);
	lua_pushboolean(L, status == KMS_OK);
	return 1;
}

static int message_add(lua_State *L)
{
	kms_client_message *message = bind_check(L, 1, &message_type);
	kms_request request = bind_client_request(L, 2, 3);
	return push_added(L, kms_client_message_add(message, &request));
}

static int message_seal(lua_State *L)
{
	const kms_client_message *message = bind_check(L, 1, &message_type);
	kms_session_caller *session = bind_check(L, 2, &session_type);
	uint64_t now_ms = (uint64_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER), seq;
	kms_buf none = kms_buf_make(KMS_BUF_GUARDED, SIZE_MAX);

	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_buf *sealed = bind_body_check(L, lua_gettop(L));
	kms_status status = kms_client_message_seal(sealed, &seq, message, session, now_ms);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushinteger(L, (lua_Integer)seq);
	return 2;
}

static void answer_release(void *object)
{
	kms_client_answer_clear(object);
	kms_heap_free(object);
}

static const bind_type answer_type = { "kms.client_answer", answer_release, NULL, true };

/* Pushes what came of one operation. Returns false when this machine failed. */
static bool push_result(lua_State *L, kms_status *status, const kms_client_answer *answer,
			const kms_client_message *message, size_t index)
{
	kms_exchange *exchange = bind_exchange_push(L);
	*status = exchange ? kms_client_answer_result(exchange, answer, message, index) : KMS_ERR_MEMORY;
	if (*status == KMS_ERR_MEMORY || *status == KMS_ERR_LOCKED_MEMORY) return false;
	if (*status != KMS_OK) {
		lua_pop(L, 1);
		lua_pushboolean(L, false);
		return true;
	}
	bind_exchange_fields(L, exchange);
	lua_insert(L, -2);
	lua_setfield(L, -2, "exchange");
	return true;
}

static int push_results(lua_State *L, const kms_client_answer *answer, const kms_client_message *message)
{
	kms_status status;
	size_t count = answer->whole ? 1 : kms_client_message_count(message);
	lua_createtable(L, (int)count, 1);
	for (size_t i = 0; i < count; i++) {
		if (!push_result(L, &status, answer, message, i)) return bind_fail(L, status);
		if (answer->whole)
			lua_setfield(L, -2, "whole");
		else
			lua_seti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

static kms_span check_body(lua_State *L, int arg)
{
	if (bind_is(L, arg, &bind_body_type)) return kms_buf_span(bind_body_check(L, arg));
	return kms_text_span(bind_arg_text(L, arg));
}

static int message_open(lua_State *L)
{
	const kms_client_message *message = bind_check(L, 1, &message_type);
	const kms_session_caller *session = bind_check(L, 2, &session_type);
	uint64_t seq = (uint64_t)bind_arg_integer(L, 3, 1, LUA_MAXINTEGER);
	kms_span body = check_body(L, 4);

	void **box = bind_new(L, &answer_type);
	kms_client_answer *answer = kms_heap_alloc(1, sizeof(*answer));
	if (!answer) return bind_fail(L, KMS_ERR_MEMORY);
	*box = answer;
	kms_status status = kms_client_answer_open(answer, message, session, seq, body);
	if (status != KMS_OK) return bind_fail(L, status);
	int results = push_results(L, answer, message);
	kms_client_answer_clear(answer);
	return results;
}

/* client_message() -> an empty message | nil, message, code */
static int client_message(lua_State *L)
{
	kms_client_message **box = (kms_client_message **)bind_new(L, &message_type);
	kms_status status = kms_client_message_new(box);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* ---- operations in a file ------------------------------------------------------------------------- */

/* The line of a text that begins at `from`, without its end. Returns: where the next one begins. */
static size_t line_at(kms_span *line, const kms_buf *text, size_t from)
{
	const uint8_t *begin = text->data + from;
	const uint8_t *end = memchr(begin, '\n', text->len - from);
	size_t len = end ? (size_t)(end - begin) : text->len - from;
	size_t next = from + len + (end ? 1 : 0);
	if (len && begin[len - 1] == '\r') len--;
	*line = kms_span_of(begin, len);
	return next;
}

static bool is_blank(kms_span line)
{
	for (size_t i = 0; i < line.len; i++)
		if (line.bytes[i] != ' ' && line.bytes[i] != '\t') return false;
	return true;
}

/*
 * value:operation(from) -> next, kind, fields | nil, message, code
 * Reads the line at position `from` (1: the first): an operation in JSON (docs/protocol.md section 15). next:
 * where the following line begins, false after the last. kind: nil for an empty line. fields: as message:add
 * takes them, the value as a handle.
 */
static int value_operation(lua_State *L);

static void set_name(lua_State *L, const char *name, kms_text text)
{
	if (!text.text) return;
	bind_push_text(L, text);
	lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, uint64_t number)
{
	if (number) bind_set_integer(L, name, number);
}

/* Sets `value` of the table on top to a handle with a copy. */
static kms_status set_value(lua_State *L, kms_span value)
{
	kms_buf *copy = bind_value_push(L);
	ENSURE(copy, KMS_ERR_MEMORY);
	if (value.len) GUARD(kms_buf_append(copy, value));
	lua_setfield(L, -2, "value");
	return KMS_OK;
}

static kms_status push_request(lua_State *L, const kms_request *request)
{
	lua_newtable(L);
	set_name(L, "path", request->path);
	set_name(L, "context", request->context);
	set_name(L, "key", request->key);
	set_name(L, "prefix", request->prefix);
	set_name(L, "after", request->after);
	set_number(L, "length", request->length);
	set_number(L, "limit", request->limit);
	set_number(L, "ttl_ms", request->ttl_ms);
	return request->kind == KMS_REQUEST_PUT ? set_value(L, request->value) : KMS_OK;
}

static int value_operation(lua_State *L)
{
	kms_request request;
	const char *field = NULL;
	kms_span line = KMS_NO_BYTES;
	const kms_buf *text = bind_check(L, 1, &bind_value_type);
	size_t from = (size_t)bind_arg_integer(L, 2, 1, (lua_Integer)text->len + 1) - 1;
	size_t next = text->len ? line_at(&line, text, from) : 0;

	/* Parsed in a copy, which a handle owns, as parsing changes it. */
	kms_buf none = kms_buf_make(KMS_BUF_GUARDED, MAX_LINE);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_buf *copy = bind_body_check(L, lua_gettop(L));
	if (next < text->len)
		lua_pushinteger(L, (lua_Integer)next + 1);
	else
		lua_pushboolean(L, false);
	if (is_blank(line)) return 1;
	kms_status status = kms_buf_append(copy, line);
	if (status == KMS_OK) status = kms_client_operation_read(&request, &field, copy);
	if (status != KMS_OK) return bind_fail_member(L, status, field);
	lua_pushstring(L, kms_request_operation(request.kind));
	status = push_request(L, &request);
	kms_buf_free(copy);
	return status == KMS_OK ? 3 : bind_fail(L, status);
}

void bind_add_client_session(lua_State *L)
{
	static const luaL_Reg functions[] = { { "client_message", client_message }, { NULL, NULL } };
	static const luaL_Reg client_more[] = { { "open_session", client_open_session }, { NULL, NULL } };
	static const luaL_Reg value_more[] = { { "operation", value_operation }, { NULL, NULL } };
	bind_define(L, &session_type);
	bind_define(L, &opening_type);
	bind_define(L, &message_type);
	bind_define(L, &answer_type);
	bind_add_methods(L, &bind_client_type, client_more);
	bind_add_methods(L, &bind_value_type, value_more);
	luaL_setfuncs(L, functions, 0);
}
