/*
 * What every binding shares. A binding function checks its arguments, calls the core, maps
 * the status and pushes: no logic. Misuse throws with the argument's number; an expected
 * failure returns nil, message, code. Lua gets handles, never the bytes of a secret.
 *
 * Functions marked "may throw" unwind by longjmp: no owned C memory may be alive across
 * them, so objects are owned by a userdata (made first, with its metatable) before they exist.
 */
#ifndef KMS_BIND_H
#define KMS_BIND_H

#include <lauxlib.h>
#include <lua.h>
#include <uv.h>

#include "kms/buf.h"
#include "kms/kms.h"
#include "kms/pop.h"

/* ---- topics: each adds its functions to the module table on top of the stack ----------- */

void kms_bind_system(lua_State *L);
void kms_bind_crypto(lua_State *L);
void kms_bind_keys(lua_State *L);
void kms_bind_limits(lua_State *L);
void kms_bind_store(lua_State *L);
void kms_bind_service(lua_State *L);
void kms_bind_http(lua_State *L);
void kms_bind_http_reply(lua_State *L);
void kms_bind_body(lua_State *L);
void kms_bind_fetch(lua_State *L);
void kms_bind_endpoint(lua_State *L);
void kms_bind_envelope(lua_State *L);
void kms_bind_odyn(lua_State *L);
void kms_bind_nsm(lua_State *L);
void kms_bind_double(lua_State *L);
void kms_bind_client(lua_State *L);
void kms_bind_abi(lua_State *L);
void kms_bind_pop(lua_State *L);
void kms_bind_sync(lua_State *L);
void kms_bind_policy(lua_State *L);
void kms_bind_attest(lua_State *L);

/* ---- results ------------------------------------------------------------------------------ */

/* Pushes nil, public text, name of the status ("ERR_HEX"); returns 3. */
int kms_bind_fail(lua_State *L, kms_status status);
/* The same with a text of our own instead (a member's name, a limit). */
int kms_bind_fail_text(lua_State *L, kms_status status, const char *text);
/* Pushes a text, nil where it is absent; returns 1. */
int kms_bind_push_text(lua_State *L, kms_text text);
/* Pushes "0x" and the digits of public bytes. */
void kms_bind_push_hex(lua_State *L, const uint8_t *bytes, size_t len);
/* true, or the failure. */
int kms_bind_result(lua_State *L, kms_status status);

/* ---- arguments (may throw) --------------------------------------------------------------- */

/* An integer within [min, max]; throws with the argument's number and the bounds. */
lua_Integer kms_bind_integer(lua_State *L, int arg, lua_Integer min, lua_Integer max);
/* A string of exactly `len` bytes. */
const uint8_t *kms_bind_bytes(lua_State *L, int arg, size_t len);
/* A string, or an absent text where nil stands. */
kms_text kms_bind_text(lua_State *L, int arg);
/* An application id as decimal text (ids are unsigned 64-bit, a Lua integer is not). */
uint64_t kms_bind_app_id(lua_State *L, int arg);
/* A wallet address in any accepted form. */
void kms_bind_address(uint8_t address20[20], lua_State *L, int arg);
/*
 * Options in a table: the integer `name` within bounds, or `fallback` where absent.
 * kms_bind_closed throws for a member that is in none of `names` (NULL-terminated).
 */
lua_Integer kms_bind_option(lua_State *L, int arg, const char *name, lua_Integer min, lua_Integer max,
			    lua_Integer fallback);
void kms_bind_closed(lua_State *L, int arg, const char *const *names);

/* ---- userdata ----------------------------------------------------------------------------- */

/*
 * A type whose userdata holds one pointer and one user value that keeps alive what the object
 * borrows. `methods` may be NULL; `release` frees the pointer (never NULL) and runs once: at
 * collection, and where `closable` also at scope end or by a `close` method. What other
 * objects may borrow is not closable.
 */
typedef struct kms_bind_type {
	const char *name; /* "kms.store" */
	void (*release)(void *object);
	const luaL_Reg *methods;
	bool closable;
} kms_bind_type;

/* Makes the metatable; `type` must be static. */
void kms_bind_define(lua_State *L, const kms_bind_type *type);
/* Pushes an empty userdata of the type and returns where its pointer goes (may throw). */
void **kms_bind_new(lua_State *L, const kms_bind_type *type);
/* Whether argument `arg` is of the type, closed ones included. */
bool kms_bind_is(lua_State *L, int arg, const kms_bind_type *type);
/* The pointer of argument `arg`; throws when it is another type or already closed. */
void *kms_bind_check(lua_State *L, int arg, const kms_bind_type *type);
/* The pointer, or NULL where nil stands. */
void *kms_bind_check_optional(lua_State *L, int arg, const kms_bind_type *type);

/* Types that more than one topic takes. */
extern const kms_bind_type kms_bind_secret_type;   /* kms_secret */
extern const kms_bind_type kms_bind_wallet_type;   /* kms_wallet */
extern const kms_bind_type kms_bind_p384_type;     /* kms_p384 */
extern const kms_bind_type kms_bind_store_type;    /* kms_store */
extern const kms_bind_type kms_bind_nonces_type;   /* kms_nonces */
extern const kms_bind_type kms_bind_channels_type; /* kms_channels */
extern const kms_bind_type kms_bind_http_type;     /* kms_http (net/http.h) */
extern const kms_bind_type kms_bind_body_type;     /* kms_buf: a body */

/* ---- bodies that stay in C (kms.body) ------------------------------------------------------- */

/*
 * Moves a buffer into a new body on top of the stack; false (nothing of use is pushed, the
 * buffer stays the caller's) where there is no memory. May throw: the buffer is then owned by
 * something that a userdata frees.
 */
bool kms_bind_push_body(lua_State *L, kms_buf *body);
/* The buffer of argument `arg`, without taking it (may throw). */
kms_buf *kms_bind_check_body(lua_State *L, int arg);
/* Takes the buffer out of argument `arg`, which has been checked and is closed then. */
void kms_bind_take_body(kms_buf *body, lua_State *L, int arg);

/*
 * A body that is lent to a job or a call: closed for everybody else meanwhile. The handle stays
 * on the caller's stack until it is given back; where that never happens (the coroutine was
 * dropped) kms_bind_drop_loan frees the buffer.
 */
typedef struct kms_bind_loan {
	void **box;
	kms_buf *body; /* NULL: nothing is lent */
} kms_bind_loan;

void kms_bind_lend_body(kms_bind_loan *loan, lua_State *L, int arg);
void kms_bind_give_back(kms_bind_loan *loan);
void kms_bind_drop_loan(kms_bind_loan *loan);

/* A request's parser (may throw): its texts stay where they are while the request runs. */
struct kms_http;
struct kms_http *kms_bind_check_http(lua_State *L, int arg);

/*
 * A process is a node, or stands in for a TEE service (development): only the latter may see
 * plaintext in Lua. False where it is the other one already.
 */
typedef enum kms_bind_role { KMS_BIND_NODE = 1, KMS_BIND_DOUBLE = 2 } kms_bind_role;
bool kms_bind_claim(kms_bind_role role);

/* ---- work and waiting ---------------------------------------------------------------------- */

/* The loop that luv runs. */
uv_loop_t *kms_bind_loop(lua_State *L);

/*
 * A coroutine that waits for something outside Lua. kms_wait_yield suspends the running
 * coroutine (return its result from the binding function); `finish` runs inside the coroutine
 * after kms_wait_resume was called on the loop's thread, pushes the results and returns
 * their count. What `finish` needs is kept alive on the coroutine's stack. Where the caller
 * is not yieldable (the main thread) it throws.
 */
typedef struct kms_wait {
	lua_State *thread; /* suspended coroutine, NULL when none is */
	int anchor;        /* registry reference while suspended */
	int (*finish)(lua_State *L, struct kms_wait *wait);
} kms_wait;

int kms_wait_yield(lua_State *L, kms_wait *wait);
void kms_wait_resume(kms_wait *wait);

/*
 * A job for libuv's pool, at the start of a userdata that the caller made and leaves on its
 * stack. `run` may be called on any thread and must not touch Lua. The coroutine yields until
 * it is done; when nothing else waits, or where it cannot yield, it runs inline, which saves
 * the wake-up.
 */
typedef struct kms_job {
	kms_wait wait;
	uv_work_t work;
	void (*run)(struct kms_job *job);
	int (*finish)(lua_State *L, struct kms_job *job);
	bool heavy; /* never inline where it can yield: P-384, large bodies */
} kms_job;

int kms_job_start(lua_State *L, kms_job *job);
/* The same for work that costs less than the way to the pool: here and now, unless it is heavy. */
int kms_job_start_small(lua_State *L, kms_job *job);

/* The same here and now in any case: for a request's last job when it has become small. */
int kms_job_run(lua_State *L, kms_job *job);

/* Jobs that are on the pool or wait for it. */
unsigned kms_job_pending(void);

/*
 * Before lua_close, which frees what jobs work on: returns when none runs any more. Those that
 * have not begun never do, and nobody who waits for a job is resumed.
 */
void kms_jobs_stop(void);

#endif
