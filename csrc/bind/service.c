/* The service object, and the authentication of a request from its headers. */
#include "bind/service.h"

#include <string.h>

#include "bind/crypto.h"
#include "bind/http.h"
#include "bind/job.h"
#include "bind/keys.h"
#include "bind/limits.h"
#include "bind/options.h"
#include "bind/process.h"
#include "bind/store.h"
#include "bind/topics.h"
#include "base/mem.h"
#include "net/http.h"
#include "kms/crypto.h"
#include "kms/kdf.h"

void bind_arg_signature(bind_signature *signature, lua_State *L, int arg)
{
	const char *text = luaL_checklstring(L, arg, &signature->len);
	if (signature->len > sizeof(signature->text)) luaL_argerror(L, arg, "longer than a signature");
	memcpy(signature->text, text, signature->len);
}

bind_service *bind_service_check(lua_State *L, bool with_keys)
{
	bind_service *service = bind_check(L, 1, &bind_service_type);
	if (with_keys && !service->p384) luaL_argerror(L, 1, "has no keys of its own");
	return service;
}

/* ---- authentication --------------------------------------------------------------------- */

/* A copy of a header's value, cut one byte past the longest valid form, so that it stays invalid. */
typedef struct header_copy {
	char text[KMS_SIGNATURE_TEXT + 1];
	size_t len;
	bool present;
} header_copy;

typedef struct auth_job {
	bind_job job;
	const bind_service *service; /* argument 1 */
	kms_pop_domain domain;
	header_copy signature, nonce, timestamp, wallet;
	uint8_t body32[32]; /* with the domains of sessions */
	uint64_t now_s, mono_s;
	kms_status status;
	uint8_t caller20[20];
	bool response_signed;
	char response[KMS_SIGNATURE_TEXT];
} auth_job;

/* The slot of a wallet's mark. Out: mark - never 0, which is an empty slot. */
static _Atomic uint64_t *mark_of(uint64_t *mark, const bind_service *service, const uint8_t wallet20[20])
{
	*mark = kms_siphash(&service->known->key, kms_span_of(wallet20, 20)) | 1;
	return &service->known->marks[(*mark >> 32) % BIND_KNOWN_CALLERS];
}

static bool is_known(const bind_service *service, const uint8_t wallet20[20])
{
	uint64_t mark;
	const _Atomic uint64_t *slot = mark_of(&mark, service, wallet20);
	return atomic_load_explicit(slot, memory_order_relaxed) == mark;
}

/* service:know(wallet): from now on, authenticate also makes the response signature for this caller. */
static int service_know(lua_State *L)
{
	uint8_t wallet20[20];
	uint64_t mark;
	const bind_service *service = bind_check(L, 1, &bind_service_type);
	bind_arg_address(wallet20, L, 2);
	_Atomic uint64_t *slot = mark_of(&mark, service, wallet20);
	atomic_store_explicit(slot, mark, memory_order_relaxed);
	return 0;
}

static bool copy_header(header_copy *copy, const kms_http *http, const char *name)
{
	kms_text value = { NULL, 0 };
	unsigned times = kms_http_header(&value, http, name);

	copy->present = times > 0;
	copy->len = value.len < sizeof(copy->text) ? value.len : sizeof(copy->text);
	if (copy->len) memcpy(copy->text, value.text, copy->len);
	return times <= 1;
}

static kms_text view(const header_copy *copy)
{
	kms_text text = { copy->present ? copy->text : NULL, copy->len };
	return text;
}

static bool covers_body(kms_pop_domain domain)
{
	return domain == KMS_POP_APP_SESSION || domain == KMS_POP_PEER_SESSION;
}

static bool is_app(kms_pop_domain domain)
{
	return domain == KMS_POP_APP || domain == KMS_POP_APP_SESSION;
}

static void auth_run(bind_job *base)
{
	auth_job *job = (auth_job *)base;
	const bind_service *service = job->service;
	const kms_pop pop = { .domain = job->domain,
			      .signature = view(&job->signature),
			      .nonce = view(&job->nonce),
			      .timestamp = view(&job->timestamp),
			      .wallet = view(&job->wallet),
			      .body32 = covers_body(job->domain) ? job->body32 : NULL };
	job->status = kms_pop_check(job->caller20, service->nonces, &pop, service->own20, job->now_s,
				    job->mono_s, service->pop_window_s);
	if (job->status != KMS_OK || job->domain != KMS_POP_APP || !service->wallet) return;
	/* A failure is left to service:reply, which tries again. */
	if (is_known(service, job->caller20))
		job->response_signed =
		    kms_response_sign(job->response, service->wallet, pop.signature) == KMS_OK;
}

/* Fails with the names of the headers that are missing, in alphabetical order. */
static int fail_missing(lua_State *L, const auth_job *job)
{
	const char *prefix = is_app(job->domain) ? "X-App-" : "X-KMS-";
	const struct {
		const header_copy *header;
		const char *name;
	} headers[] = { { &job->nonce, "Nonce" },
			{ &job->signature, "Signature" },
			{ &job->timestamp, "Timestamp" } };
	const char *before = "missing headers of the proof of possession: ";

	lua_pushliteral(L, "");
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		if (headers[i].header->present && headers[i].header->len) continue;
		lua_pushfstring(L, "%s%s%s%s", lua_tostring(L, -1), before, prefix, headers[i].name);
		before = ", ";
	}
	return bind_fail_text(L, job->status, lua_tostring(L, -1));
}

static int auth_fail(lua_State *L, const auth_job *job)
{
	if (job->status == KMS_ERR_POP_MISSING) return fail_missing(L, job);
	if (job->status != KMS_ERR_POP_TIMESTAMP) return bind_fail(L, job->status);
	return bind_fail_text(
	    L, job->status,
	    lua_pushfstring(L, "%s of %I s: this node's time is %I", kms_status_text(job->status),
			    (lua_Integer)job->service->pop_window_s, (lua_Integer)job->now_s));
}

static int auth_finish(lua_State *L, bind_job *base)
{
	auth_job *job = (auth_job *)base;
	char caller[KMS_ADDRESS_TEXT];

	if (job->status != KMS_OK) return auth_fail(L, job);
	kms_address_format(caller, job->caller20);
	lua_pushlstring(L, caller, sizeof(caller));
	lua_pushlstring(L, job->signature.text, job->signature.len);
	if (!job->response_signed) return 2;
	lua_pushlstring(L, job->response, sizeof(job->response));
	return 3;
}

/*
 * service:authenticate(head, domain, wall_ms, mono_ms) -> wallet, signature text [, response signature] |
 * nil, message, code
 * domain: "app" or "peer", or those of the opening of a session, whose signature covers the collected body:
 * "app_session" and "peer_session". The response signature, for service:reply, only for a caller that
 * service:know was told.
 */
static int service_authenticate(lua_State *L)
{
	/* In the order of kms_pop_domain. */
	static const char *const domains[] = { "app", "peer", "app_session", "peer_session", NULL };
	static const char *const headers[2][4] = {
		{ "x-app-signature", "x-app-nonce", "x-app-timestamp", "x-app-wallet" },
		{ "x-kms-signature", "x-kms-nonce", "x-kms-timestamp", "x-kms-wallet" },
	};
	const bind_service *service = bind_check(L, 1, &bind_service_type);
	kms_http *http = bind_http_check(L, 2);
	kms_pop_domain domain = (kms_pop_domain)luaL_checkoption(L, 3, NULL, domains);
	const char *const *names = headers[is_app(domain) ? 0 : 1];
	uint64_t wall_ms = (uint64_t)bind_arg_integer(L, 4, 0, LUA_MAXINTEGER);
	uint64_t mono_ms = (uint64_t)bind_arg_integer(L, 5, 0, LUA_MAXINTEGER);

	if (!service->has_self) return bind_fail(L, KMS_ERR_STATE); /* no signature names this node */
	auth_job *job = bind_job_push(L, sizeof(*job), auth_run, auth_finish);
	if (!copy_header(&job->signature, http, names[0]) || !copy_header(&job->nonce, http, names[1]) ||
	    !copy_header(&job->timestamp, http, names[2]) || !copy_header(&job->wallet, http, names[3]))
		return bind_fail(L, KMS_ERR_POP_DUPLICATE);
	job->service = service;
	job->domain = domain;
	job->now_s = wall_ms / 1000;
	job->mono_s = mono_ms / 1000;
	if (covers_body(domain)) {
		kms_status status = kms_sha256(job->body32, kms_buf_span(kms_http_body(http)));
		if (status != KMS_OK) return bind_fail(L, status);
	}
	return bind_job_start(L, &job->job);
}

/* ---- the object ----------------------------------------------------------------------------- */

static void service_release(void *object)
{
	bind_service *service = object;
	kms_secret_unref(service->master);
	kms_heap_free(service->known);
	kms_heap_free(service);
}

/* service:set_master(secret|nil): replaces the master secret. */
static int service_set_master(lua_State *L)
{
	bind_service *service = bind_check(L, 1, &bind_service_type);
	kms_secret *master = lua_isnoneornil(L, 2) ? NULL : bind_check_master(L, 2);
	kms_secret *old = service->master;
	service->master = master ? kms_secret_ref(master) : NULL;
	kms_secret_unref(old);
	return 0;
}

/* service:has_channel(point97) -> whether the peer's channel key is cached, so that no ECDH is needed */
static int service_has_channel(lua_State *L)
{
	const bind_service *service = bind_service_check(L, true);
	const uint8_t *peer97 = bind_arg_bytes(L, 2, KMS_P384_POINT);
	kms_secret *key = kms_channels_find(service->channels, service->p384, peer97);
	lua_pushboolean(L, key != NULL);
	kms_secret_unref(key);
	return 1;
}

#define KEPT_INDEX 3 /* the table that keeps a service's handles alive */

/* The handle that the option `name` of the table at 1 is; kept alive (may throw). */
static void *member(lua_State *L, const char *name, const bind_type *type)
{
	void *object = bind_option_object(L, 1, name, type);
	if (!object) luaL_argerror(L, 1, lua_pushfstring(L, "option '%s' is required", name));
	lua_setfield(L, KEPT_INDEX, name);
	return object;
}

/* The keys, or only the address of a wallet whose keys are in a TEE service, or nothing yet. */
static void set_identity(bind_service *service, lua_State *L)
{
	service->has_self = bind_option_address(service->own20, L, 1, "self");
	if (service->has_self) return;
	if (lua_getfield(L, 1, "wallet") == LUA_TNIL) return;
	service->wallet = member(L, "wallet", &bind_wallet_type);
	service->p384 = member(L, "p384", &bind_p384_type);
	kms_wallet_address(service->own20, service->wallet);
	service->has_self = true;
}

/* service:set_self(wallet): names the wallet whose keys are in a TEE service; throws when it is known. */
static int service_set_self(lua_State *L)
{
	bind_service *service = bind_check(L, 1, &bind_service_type);
	if (service->has_self) luaL_argerror(L, 1, "has a wallet");
	bind_arg_address(service->own20, L, 2);
	service->has_self = true;
	return 0;
}

static const luaL_Reg service_methods[] = {
	{ "authenticate", service_authenticate }, { "set_self", service_set_self },
	{ "set_master", service_set_master },     { "know", service_know },
	{ "has_channel", service_has_channel },   { NULL, NULL },
};
const bind_type bind_service_type = { "kms.service", service_release, service_methods, false };

/*
 * service{wallet=, p384=, nonces=, channels=, store=, max_value=, max_key=, max_list=, pop_window_s=}
 * -> service | nil, message, code
 * Keeps the handles alive. With the keys in a TEE service: self= (the wallet's address) instead of
 * wallet and p384, or neither until service:set_self; then it authenticates nobody.
 */
static int service_new(lua_State *L)
{
	static const char *const names[] = { "wallet",       "p384",      "nonces",  "channels",
					     "store",        "max_value", "max_key", "max_list",
					     "pop_window_s", "self",      NULL };
	const lua_Integer large = (lua_Integer)1 << 40;

	if (!bind_claim_role(BIND_ROLE_NODE))
		return luaL_error(L, "this process stands in for a TEE service");
	bind_options_check(L, 1, names);
	lua_settop(L, 1);
	void **box = bind_new(L, &bind_service_type);
	lua_newtable(L);
	lua_pushvalue(L, KEPT_INDEX);
	lua_setiuservalue(L, 2, 1);
	bind_service given = { 0 };
	set_identity(&given, L);
	kms_nonces *nonces = member(L, "nonces", &bind_nonces_type);
	kms_channels *channels = member(L, "channels", &bind_channels_type);
	kms_store *store = member(L, "store", &bind_store_type);
	kms_request_limits limits = {
		(size_t)bind_option_integer(L, 1, "max_value", 1, large, 1 << 20),
		(size_t)bind_option_integer(L, 1, "max_key", 1, KMS_STORE_MAX_PEER_KEY, 4096),
		(size_t)bind_option_integer(L, 1, "max_list", 1, large, 4 << 20),
		false,
	};
	uint64_t window = (uint64_t)bind_option_integer(L, 1, "pop_window_s", 1, 3600, 120);

	bind_service *service = kms_heap_alloc(1, sizeof(*service));
	if (!service) return bind_fail(L, KMS_ERR_MEMORY);
	*box = service;
	*service = given;
	service->known = kms_heap_alloc(1, sizeof(*service->known));
	if (!service->known) return bind_fail(L, KMS_ERR_MEMORY);
	kms_status status = kms_siphash_key_new(&service->known->key);
	if (status != KMS_OK) return bind_fail(L, status);
	service->nonces = nonces;
	service->channels = channels;
	service->store = store;
	service->limits = limits;
	service->pop_window_s = window;
	lua_settop(L, 2);
	return 1;
}

void bind_add_service(lua_State *L)
{
	lua_pushcfunction(L, service_new);
	lua_setfield(L, -2, "service");
	bind_define(L, &bind_service_type);
}
