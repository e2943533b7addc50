/*
 * One application request. With the keys in this process (`sim`, `nitro`) it takes three calls:
 * authenticate (headers), open (body), answer (work, seal, sign). Where a service has them
 * (`odyn`) parse takes what that has decrypted, and work gives what it is to seal. Between them Lua
 * asks the chain and the policy.
 */
#ifndef BIND_SERVICE_H
#define BIND_SERVICE_H

#include <stdatomic.h>

#include "bind/bind.h"
#include "base/siphash.h"
#include "kms/envelope.h"
#include "kms/request.h"

/*
 * Callers that the chain knows, as Lua has found: marks of their wallets. Of these authentication
 * signs the answer as well, which depends on nothing but the caller's signature: one job for the
 * pool instead of two. A mark that is wrong costs a signature that nobody sees; a missing one a job.
 */
#define BIND_KNOWN_CALLERS 4096u

typedef struct bind_known_callers {
	kms_siphash_key key; /* nobody can aim at the mark of another */
	_Atomic uint64_t marks[BIND_KNOWN_CALLERS];
} bind_known_callers;

/* Everything is borrowed (kept alive by the userdata's user value) but `master` and `known`. */
typedef struct bind_service {
	kms_wallet *wallet; /* NULL, like p384, where the keys are not in this process */
	kms_p384 *p384;
	kms_nonces *nonces;
	kms_channels *channels;
	kms_store *store;
	kms_secret *master; /* our reference; NULL while there is none */
	uint8_t own20[20];
	bind_known_callers *known;
	kms_request_limits limits;
	uint64_t pop_window_s;
} bind_service;

extern const bind_type bind_service_type; /* its other methods: request.c, answer.c */
extern const bind_type bind_request_type; /* kms_request */

/* A signature's text, copied: jobs must not point into Lua strings that a collection may take. */
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

/* The service at argument 1; with_keys: throws where its keys are elsewhere. */
bind_service *bind_service_check(lua_State *L, bool with_keys);

#endif
