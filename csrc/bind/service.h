/*
 * Requests of applications. With the keys in this process (TEE=sim, nitro) a request takes three calls:
 * authenticate (headers), open (body), reply (execute, seal, sign). With the keys in a TEE service
 * (TEE=odyn) parse takes the body that the service decrypted, and execute gives the result that it is to
 * seal. Between the calls Lua consults the chain and the policy.
 */
#ifndef BIND_SERVICE_H
#define BIND_SERVICE_H

#include <stdatomic.h>

#include "bind/bind.h"
#include "base/siphash.h"
#include "kms/envelope.h"
#include "kms/request.h"

/*
 * Callers that Lua found registered on the chain, as hashes of their wallets. For these, authentication also
 * makes the response signature, which depends only on the caller's signature: one job instead of two. A
 * wrong mark costs an unused signature, a missing one a job.
 */
#define BIND_KNOWN_CALLERS 4096u

typedef struct bind_known_callers {
	kms_siphash_key key; /* random: nobody can choose a wallet whose mark replaces another's */
	_Atomic uint64_t marks[BIND_KNOWN_CALLERS];
} bind_known_callers;

/* Owns `master` and `known`; borrows the rest, which the userdata's user value keeps alive. */
typedef struct bind_service {
	kms_wallet *wallet; /* NULL, like p384, when the keys are in a TEE service */
	kms_p384 *p384;
	kms_nonces *nonces;
	kms_channels *channels;
	kms_store *store;
	kms_secret *master; /* our reference; may be NULL */
	uint8_t own20[20];  /* of the wallet, where has_self */
	bool has_self;
	bool has_sessions; /* what requests that ask are told */
	bind_known_callers *known;
	kms_request_limits limits;
	uint64_t pop_window_s;
} bind_service;

extern const bind_type bind_service_type; /* more methods: request.c, execute.c */
extern const bind_type bind_request_type; /* kms_request */

/* A copy of a signature's text: jobs must not point into Lua strings, which may be collected. */
typedef struct bind_signature {
	char text[KMS_SIGNATURE_TEXT];
	size_t len;
} bind_signature;

static inline kms_text bind_signature_view(const bind_signature *signature)
{
	kms_text view = { signature->text, signature->len };
	return view;
}

/* Copies argument `arg`; throws when it is longer than a signature. */
void bind_arg_signature(bind_signature *signature, lua_State *L, int arg);

/* The service at argument 1 (may throw); with_keys: throws when it has no keys. */
bind_service *bind_service_check(lua_State *L, bool with_keys);

#endif
