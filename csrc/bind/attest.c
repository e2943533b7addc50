/* Reading and verifying attestation documents (kms/attest.h). Everything here is public data. */
#include "bind/attest.h"

#include <string.h>

#include "bind/job.h"
#include "bind/options.h"
#include "bind/topics.h"

#define MAX_ROOTS 16
#define MAX_IMAGES 64

/* ---- arguments --------------------------------------------------------------------------------- */

void bind_attest_pcrs(kms_attest_pcrs *pcrs, lua_State *L, int arg)
{
	if (!lua_istable(L, -1)) luaL_argerror(L, arg, "registers must be a table");
	memset(pcrs, 0, sizeof(*pcrs));
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		size_t len = 0;
		lua_Integer index = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : -1;
		const char *value = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
		if (index < 0 || index >= KMS_ATTEST_PCR_COUNT || !value || len != KMS_ATTEST_PCR_BYTES) {
			luaL_argerror(L, arg, "registers are 48 bytes each, numbered from 0 to 31");
			return; /* not reached: luaL_argerror throws, which the analyser does not know */
		}
		pcrs->named |= 1u << index;
		memcpy(pcrs->values[index], value, len);
	}
	if (!pcrs->named) luaL_argerror(L, arg, "an image without registers would be equal to all");
}

/* Pushes the list in a field, and returns its length. */
static size_t push_list(lua_State *L, int arg, const char *name, size_t max)
{
	if (lua_getfield(L, arg, name) != LUA_TTABLE)
		luaL_argerror(L, arg, lua_pushfstring(L, "option '%s' must be a list", name));
	size_t count = (size_t)lua_rawlen(L, -1);
	if (count > max)
		luaL_argerror(L, arg, lua_pushfstring(L, "option '%s' has more than %d", name, (int)max));
	return count;
}

typedef struct verify_job {
	bind_job job;
	kms_span document;
	bool only_read;
	kms_attest_policy policy;
	kms_span nonce, user_data, public_key;
	uint8_t roots[MAX_ROOTS][32];
	kms_attest_facts facts;
	kms_attest_failure failure;
	kms_status status;
	kms_attest_pcrs images[]; /* policy.image_count elements */
} verify_job;

static void read_roots(lua_State *L, int arg, verify_job *job)
{
	size_t count = push_list(L, arg, "roots", MAX_ROOTS), len = 0;
	for (size_t i = 0; i < count; i++) {
		bool is_text = lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TSTRING;
		const char *root = is_text ? lua_tolstring(L, -1, &len) : NULL;
		if (!root || len != sizeof(job->roots[i])) {
			luaL_argerror(L, arg, "roots are 32 bytes each");
			return; /* not reached */
		}
		memcpy(job->roots[i], root, len);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	job->policy.roots = (const uint8_t(*)[32])job->roots;
	job->policy.root_count = count;
}

/* The list is at index `list` of the stack; 0: absent. */
static void read_images(lua_State *L, int arg, int list, verify_job *job, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, list, (lua_Integer)i + 1);
		bind_attest_pcrs(&job->images[i], L, arg);
		lua_pop(L, 1);
	}
	job->policy.check_pcrs = list != 0;
	job->policy.images = job->images;
	job->policy.image_count = count;
}

static void read_numbers(lua_State *L, int arg, kms_attest_policy *policy)
{
	lua_Integer now = bind_option_integer(L, arg, "now_ms", 0, LUA_MAXINTEGER, -1);
	if (now < 0) luaL_argerror(L, arg, "option 'now_ms' is missing");
	lua_Integer age = bind_option_integer(L, arg, "max_age_ms", 0, LUA_MAXINTEGER, -1);
	policy->now_ms = (uint64_t)now;
	policy->max_age_ms = age < 0 ? KMS_ATTEST_ANY_AGE : (uint64_t)age;
	policy->max_ahead_ms = (uint64_t)bind_option_integer(L, arg, "max_ahead_ms", 0, LUA_MAXINTEGER, 0);
	policy->allow_debug = bind_option_boolean(L, arg, "allow_debug");
}

/* ---- results ------------------------------------------------------------------------------------- */

/* Sets a member of the table on top of the stack, unless the bytes are absent. */
static void set_bytes(lua_State *L, const char *name, kms_span bytes)
{
	if (!bytes.bytes) return;
	lua_pushlstring(L, (const char *)bytes.bytes, bytes.len);
	lua_setfield(L, -2, name);
}

static void push_certificate(lua_State *L, const kms_attest_facts *facts, size_t i)
{
	const kms_attest_certificate *certificate = &facts->chain[i];
	lua_newtable(L);
	set_bytes(L, "der", facts->der[i]);
	if (!certificate->readable) return;
	set_bytes(L, "subject",
		  (kms_span){ (const uint8_t *)certificate->subject, strlen(certificate->subject) });
	set_bytes(L, "sha256", (kms_span){ certificate->sha256, sizeof(certificate->sha256) });
	bind_set_integer(L, "not_before_s", (uint64_t)certificate->not_before_s);
	bind_set_integer(L, "not_after_s", (uint64_t)certificate->not_after_s);
}

static void push_facts(lua_State *L, const kms_attest_facts *facts)
{
	lua_newtable(L);
	set_bytes(L, "module_id", facts->module_id);
	set_bytes(L, "digest", facts->digest);
	bind_set_integer(L, "timestamp_ms", facts->timestamp_ms);
	set_bytes(L, "public_key", facts->public_key);
	set_bytes(L, "user_data", facts->user_data);
	set_bytes(L, "nonce", facts->nonce);
	lua_newtable(L);
	for (size_t i = 0; i < KMS_ATTEST_PCR_COUNT; i++) {
		if (!facts->pcrs[i].bytes) continue;
		lua_pushlstring(L, (const char *)facts->pcrs[i].bytes, facts->pcrs[i].len);
		lua_rawseti(L, -2, (lua_Integer)i);
	}
	lua_setfield(L, -2, "pcrs");
	lua_newtable(L);
	for (size_t i = 0; i < facts->chain_len && i < KMS_ATTEST_MAX_CHAIN; i++) {
		push_certificate(L, facts, i);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "chain");
	bind_set_integer(L, "chain_len", facts->chain_len);
}

/* ---- functions ------------------------------------------------------------------------------------ */

static void verify_run(bind_job *base)
{
	verify_job *job = (verify_job *)base;
	if (job->only_read)
		job->status = kms_attest_read(&job->facts, &job->failure, job->document);
	else
		job->status = kms_attest_verify(&job->facts, &job->failure, job->document, &job->policy);
}

static int verify_finish(lua_State *L, bind_job *base)
{
	const verify_job *job = (const verify_job *)base;
	if (job->status == KMS_OK) {
		push_facts(L, &job->facts);
		return 1;
	}
	if (job->status != KMS_ERR_ATTEST) return bind_fail(L, job->status);
	bind_fail_text(L, job->status, kms_attest_failure_text(job->failure));
	lua_pushstring(L, kms_attest_failure_name(job->failure));
	return 4;
}

/* Pushes a job for the document, argument 1, which must stay on the stack. */
static verify_job *push_job(lua_State *L, size_t images)
{
	verify_job *job =
	    bind_job_push(L, sizeof(*job) + images * sizeof(job->images[0]), verify_run, verify_finish);
	job->job.heavy = true;
	job->document.bytes = (const uint8_t *)lua_tolstring(L, 1, &job->document.len);
	return job;
}

/* The bytes of an option, which stay on the stack; NULL when it is absent. */
static const kms_span *read_expected(kms_span *bytes, lua_State *L, const char *name)
{
	*bytes = kms_text_span(bind_option_text(L, 2, name));
	return bytes->bytes ? bytes : NULL;
}

/*
 * attest_verify(document, options) -> facts | nil, sentence, "ERR_ATTEST", name of the failure |
 * nil, message, code
 * options: roots (list of SHA-256, 32 bytes), now_ms; optional: max_age_ms (absent: any age),
 * max_ahead_ms (0), allow_debug (false), nonce, user_data, public_key (exact bytes; "": null or
 * empty), images (list of { [0] = 48 bytes, ... }; the document must match one).
 * facts: module_id, digest, timestamp_ms, pcrs ([0] = bytes), public_key, user_data, nonce (bytes;
 * absent when null), chain_len, chain (list, root first, of { der, subject, sha256, not_before_s,
 * not_after_s }; only der when it is no certificate).
 */
static int attest_verify(lua_State *L)
{
	static const char *const names[] = { "roots",       "now_ms", "max_age_ms", "max_ahead_ms",
					     "allow_debug", "nonce",  "user_data",  "public_key",
					     "images",      NULL };
	luaL_checktype(L, 1, LUA_TSTRING);
	bind_options_check(L, 2, names);
	lua_settop(L, 2);
	bool has_images = lua_getfield(L, 2, "images") != LUA_TNIL;
	lua_settop(L, 2);
	size_t count = has_images ? push_list(L, 2, "images", MAX_IMAGES) : 0;
	verify_job *job = push_job(L, count);
	read_images(L, 2, has_images ? 3 : 0, job, count);
	read_roots(L, 2, job);
	read_numbers(L, 2, &job->policy);
	job->policy.nonce = read_expected(&job->nonce, L, "nonce");
	job->policy.user_data = read_expected(&job->user_data, L, "user_data");
	job->policy.public_key = read_expected(&job->public_key, L, "public_key");
	return bind_job_start(L, &job->job);
}

/* attest_read(document) -> facts, not verified | nil, sentence, "ERR_ATTEST", "shape" | nil, message, code */
static int attest_read(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TSTRING);
	lua_settop(L, 1);
	verify_job *job = push_job(L, 0);
	job->only_read = true;
	return bind_job_start(L, &job->job);
}

void bind_add_attest(lua_State *L)
{
	static const luaL_Reg functions[] = { { "attest_verify", attest_verify },
					      { "attest_read", attest_read },
					      { NULL, NULL } };
	luaL_setfuncs(L, functions, 0);
	lua_pushlstring(L, (const char *)kms_attest_aws_root32, sizeof(kms_attest_aws_root32));
	lua_setfield(L, -2, "attest_aws_root");
}
