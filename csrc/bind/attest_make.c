/* Making attestation documents under a test root; statements, hashes and base64 (kms/attest.h). */
#include "bind/attest.h"

#include <string.h>

#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/options.h"
#include "bind/topics.h"
#include "kms/age.h"
#include "kms/codec.h"
#include "kms/eth_text.h"

static void root_release(void *object)
{
	kms_attest_root_free(object);
}

/* root:certificate() -> DER */
static int root_certificate(lua_State *L);
/* root:make(claims) -> document | nil, message, code */
static int root_make(lua_State *L);

static const luaL_Reg root_methods[] = { { "certificate", root_certificate },
					 { "make", root_make },
					 { NULL, NULL } };
static const bind_type root_type = { "kms.attest_root", root_release, root_methods, false };

static int root_certificate(lua_State *L)
{
	kms_span der = kms_attest_root_der(bind_check(L, 1, &root_type));
	lua_pushlstring(L, (const char *)der.bytes, der.len);
	return 1;
}

/* attest_root(seed, certificate|nil) -> root | nil, message, code (kms_attest_root_new) */
static int attest_root(lua_State *L)
{
	size_t len = 0;
	const kms_secret *seed = bind_check(L, 1, &bind_secret_type);
	const char *der = luaL_optlstring(L, 2, NULL, &len);
	kms_attest_root **box = (kms_attest_root **)bind_new(L, &root_type);
	kms_status status = kms_attest_root_new(box, seed, kms_span_of(der, der ? len : 0));
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

typedef struct make_job {
	bind_job job;
	const kms_attest_root *root;
	kms_attest_claims claims;
	kms_attest_pcrs pcrs;
	kms_status status;
	size_t len;
	uint8_t document[KMS_ATTEST_MAX_DOCUMENT];
} make_job;

static void make_run(bind_job *base)
{
	make_job *job = (make_job *)base;
	kms_buf document = kms_buf_make(KMS_BUF_PLAIN, sizeof(job->document));
	job->status = kms_attest_make(&document, job->root, &job->claims);
	job->len = document.len;
	if (job->len) memcpy(job->document, document.data, job->len);
	kms_buf_free(&document);
}

static int make_finish(lua_State *L, bind_job *base)
{
	const make_job *job = (const make_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushlstring(L, (const char *)job->document, job->len);
	return 1;
}

/* claims: now_ms; optional: public_key, user_data, nonce (bytes), pcrs ({ [0] = 48 bytes, ... }) */
static int root_make(lua_State *L)
{
	static const char *const names[] = { "now_ms", "public_key", "user_data", "nonce", "pcrs", NULL };
	const kms_attest_root *root = bind_check(L, 1, &root_type);
	bind_options_check(L, 2, names);
	lua_settop(L, 2);
	make_job *job = bind_job_push(L, sizeof(*job), make_run, make_finish);
	job->job.heavy = true;
	job->root = root;
	job->claims.now_ms = (uint64_t)bind_option_integer(L, 2, "now_ms", 0, LUA_MAXINTEGER, 0);
	job->claims.public_key = kms_text_span(bind_option_text(L, 2, "public_key"));
	job->claims.user_data = kms_text_span(bind_option_text(L, 2, "user_data"));
	job->claims.nonce = kms_text_span(bind_option_text(L, 2, "nonce"));
	if (lua_getfield(L, 2, "pcrs") != LUA_TNIL) {
		bind_attest_pcrs(&job->pcrs, L, 2);
		job->claims.pcrs = &job->pcrs;
	}
	return bind_job_start(L, &job->job);
}

static void set_digest(lua_State *L, const char *name, bool present, const uint8_t digest32[32])
{
	char digits[64];
	if (!present) return;
	kms_hex_encode(digits, kms_span_of(digest32, 32));
	lua_pushlstring(L, digits, sizeof(digits));
	lua_setfield(L, -2, name);
}

/*
 * attest_statement(user_data) -> { wallet, purpose; policy, recovery (digits), recovery_key (age recipient),
 * each of which may be absent } | nil, message, code
 */
static int attest_statement(lua_State *L)
{
	kms_attest_statement statement;
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	char wallet[KMS_ADDRESS_TEXT], key[KMS_AGE_RECIPIENT];
	kms_status status = kms_attest_statement_read(&statement, kms_span_of(text, len));
	if (status != KMS_OK) return bind_fail(L, status);
	lua_newtable(L);
	kms_address_format(wallet, statement.wallet20);
	lua_pushlstring(L, wallet, sizeof(wallet));
	lua_setfield(L, -2, "wallet");
	lua_pushstring(L, statement.purpose == KMS_ATTEST_SECRET ? "secret" : "public");
	lua_setfield(L, -2, "purpose");
	set_digest(L, "policy", statement.has_policy, statement.policy32);
	set_digest(L, "recovery", statement.has_recovery, statement.recovery32);
	if (!statement.has_recovery_key) return 1;
	kms_age_recipient_format(key, statement.recovery_key32);
	lua_pushlstring(L, key, sizeof(key));
	lua_setfield(L, -2, "recovery_key");
	return 1;
}

/* sha256(bytes) -> 32 bytes. Public data. */
static int sha256(lua_State *L)
{
	uint8_t digest[32];
	size_t len;
	const char *bytes = luaL_checklstring(L, 1, &len);
	kms_status status = kms_sha256(digest, kms_span_of(bytes, len));
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushlstring(L, (const char *)digest, sizeof(digest));
	return 1;
}

/* base64_encode(bytes) -> text. Public data. */
static int base64_encode(lua_State *L)
{
	luaL_Buffer buffer;
	size_t len;
	const char *bytes = luaL_checklstring(L, 1, &len);
	char *text = luaL_buffinitsize(L, &buffer, 4 * (len / 3 + 1));
	luaL_pushresultsize(&buffer, kms_base64_encode(text, kms_span_of(bytes, len)));
	return 1;
}

/* base64_decode(text) -> bytes | nil, message, code. Public data. */
static int base64_decode(lua_State *L)
{
	luaL_Buffer buffer;
	size_t len, got = 0;
	const char *text = luaL_checklstring(L, 1, &len);
	uint8_t *bytes = (uint8_t *)luaL_buffinitsize(L, &buffer, kms_base64_bound(len) + 1);
	kms_status status = kms_base64_decode(bytes, &got, kms_text_of(text, len));
	if (status != KMS_OK) return bind_fail(L, status);
	luaL_pushresultsize(&buffer, got);
	return 1;
}

void bind_add_attest_make(lua_State *L)
{
	static const luaL_Reg functions[] = { { "attest_root", attest_root },
					      { "attest_statement", attest_statement },
					      { "sha256", sha256 },
					      { "base64_encode", base64_encode },
					      { "base64_decode", base64_decode },
					      { NULL, NULL } };
	bind_define(L, &root_type);
	luaL_setfuncs(L, functions, 0);
}
