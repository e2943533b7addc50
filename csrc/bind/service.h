/*
 * One application request. With the keys in this process (`sim`, `nitro`) it takes three calls:
 * authenticate (headers), open (body), answer (work, seal, sign). Where a service has them
 * (`odyn`) parse takes what that has decrypted, and work gives what it is to seal. Between them Lua
 * asks the chain and the policy.
 */
#ifndef KMS_BIND_SERVICE_H
#define KMS_BIND_SERVICE_H

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
#define KMS_KNOWN_CALLERS 4096u

typedef struct kms_known_callers {
	kms_siphash_key key; /* nobody can aim at the mark of another */
	_Atomic uint64_t marks[KMS_KNOWN_CALLERS];
} kms_known_callers;

/* Everything is borrowed (kept alive by the userdata's user value) but `master` and `known`. */
typedef struct kms_service {
	kms_wallet *wallet; /* NULL, like p384, where the keys are not in this process */
	kms_p384 *p384;
	kms_nonces *nonces;
	kms_channels *channels;
	kms_store *store;
	kms_secret *master; /* our reference; NULL while there is none */
	uint8_t own20[20];
	kms_known_callers *known;
	kms_request_limits limits;
	uint64_t pop_window_s;
} kms_service;

extern const kms_bind_type kms_bind_service_type;
extern const kms_bind_type kms_bind_request_type; /* kms_request */
extern const kms_bind_type kms_bind_answer_type;  /* kms_buf of an answer */

/* A signature's text, copied: jobs must not point into Lua strings that a collection may take. */
typedef struct kms_signature_text {
	char text[KMS_SIGNATURE_TEXT];
	size_t len;
} kms_signature_text;

static inline kms_text kms_signature_view(const kms_signature_text *signature)
{
	kms_text view = { signature->text, signature->len };
	return view;
}

/* Copies argument `arg`; throws when it is longer than a signature. */
void kms_bind_signature(kms_signature_text *signature, lua_State *L, int arg);

/* The service at argument 1; with_keys: throws where its keys are elsewhere. */
kms_service *kms_bind_check_service(lua_State *L, bool with_keys);

int kms_service_authenticate(lua_State *L);
int kms_service_open(lua_State *L);
int kms_service_parse(lua_State *L);
int kms_service_request(lua_State *L);
int kms_service_answer(lua_State *L);
int kms_service_work(lua_State *L);

#endif
