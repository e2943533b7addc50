/*
 * The inner requests of the application routes, and their results (docs/protocol.md sections 6 to 8).
 * Both live in guarded memory.
 *
 * Threads: one at a time per request.
 */
#ifndef KMS_REQUEST_H
#define KMS_REQUEST_H

#include "kms/json.h"
#include "kms/kdf.h"
#include "kms/pop.h"
#include "kms/store.h"

typedef enum kms_request_kind {
	KMS_REQUEST_DERIVE, /* path, context, length */
	KMS_REQUEST_PUT,    /* key, value, ttl_ms */
	KMS_REQUEST_DELETE, /* key */
	KMS_REQUEST_GET,    /* key, from the URL: no body */
	KMS_REQUEST_LIST,   /* prefix, after, limit, from the URL: no body */
} kms_request_kind;

#define KMS_LIST_DEFAULT 1000 /* keys of a page whose request names no limit */
#define KMS_LIST_MAX 10000

typedef struct kms_request {
	kms_request_kind kind;
	kms_buf plain;        /* guarded: the decrypted body, or what the URL names */
	kms_text path;        /* DERIVE */
	kms_text context;     /* DERIVE; may be absent */
	uint32_t length;      /* DERIVE: bytes asked for */
	kms_text key;         /* PUT, DELETE, GET */
	kms_span value;       /* PUT: decoded in place, inside `plain` */
	uint64_t ttl_ms;      /* PUT; 0: never expires */
	kms_text prefix;      /* LIST; may be absent */
	kms_text after;       /* LIST; may be absent */
	size_t limit;         /* LIST: keys at most; 0: all keys, or ERR_TOO_LARGE */
	kms_text pop;         /* may be absent */
	bool asks_sessions;   /* names the feature "session", and is told whether this node has it */
	bool names_operation; /* has `op`: its caller knows this version's members of results */
} kms_request;

/* Returns: the operation's name in an inner request ("derive", ...), a static string; NULL for another kind.
 */
const char *kms_request_operation(kms_request_kind kind);

/* Bounds that operators set. */
typedef struct kms_request_limits {
	size_t max_value; /* MAX_KV_VALUE_SIZE_BYTES */
	size_t max_key;   /* of a PUT: MAX_KEY_BYTES; KMS_STORE_MAX_PEER_KEY else */
	size_t max_list;  /* MAX_LIST_BYTES */
	bool strict;      /* unknown members are refused, whether or not the request says `strict` */
} kms_request_limits;

/*
 * Parses the decrypted body of a DERIVE, PUT or DELETE (docs/protocol.md sections 6 to 8).
 * Returns: KMS_OK; what kms_json_parse returns; ERR_APP_ID_IN_REQUEST; ERR_OPERATION when `op` names another
 * kind; ERR_FIELD_MISSING; ERR_FIELD_TYPE; ERR_FIELD_VALUE; ERR_FIELD_UNKNOWN for a DELETE with value or
 * ttl_ms, and for an unknown member beside a true `strict`; ERR_BASE64; ERR_VALUE_SIZE; ERR_KEY_SIZE;
 * ERR_TTL; ERR_ARGUMENT for another kind or a buffer that is not guarded.
 * Out: request - its texts and value point into its `plain`; free with kms_request_clear.
 * field - the member at fault (static string), or NULL, also for an unknown one.
 * In-out: plain - moved into the request, also on failure; empty afterwards.
 */
kms_status kms_request_parse(kms_request *request, const char **field, kms_buf *plain, kms_request_kind kind,
			     const kms_request_limits *limits);

/*
 * Reads one operation of a session's message: an object whose `op` names its kind, any of them.
 * Returns: KMS_OK; ERR_JSON for a value that is no object; ERR_FIELD_VALUE for another `op`, and for a
 * `limit` of a LIST that is not 1 to KMS_LIST_MAX; else as kms_request_parse. Out: request - owns nothing:
 * its texts and value point into the message, where the value is decoded. field - as kms_request_parse. In:
 * json - of the message, in a guarded buffer. object - one of its values.
 */
kms_status kms_request_read(kms_request *request, const char **field, const kms_json *json,
			    const kms_json_value *object, const kms_request_limits *limits);

/*
 * Makes the request of a GET.
 * Returns: KMS_OK; ERR_KEY_SIZE; ERR_UTF8; ERR_FIELD_VALUE for a NUL in the key; ERR_LOCKED_MEMORY.
 * Out: request - holds a copy of the key; free with kms_request_clear.
 * In: key - percent-decoded, 1 to KMS_STORE_MAX_PEER_KEY bytes.
 */
kms_status kms_request_for_key(kms_request *request, kms_text key);

/*
 * Makes the request of a LIST.
 * Returns: KMS_OK; ERR_KEY_SIZE; ERR_RANGE; ERR_LOCKED_MEMORY.
 * Out: request - holds copies of the texts; free with kms_request_clear.
 * In: prefix, after - percent-decoded, at most KMS_STORE_MAX_PEER_KEY bytes; may be absent. limit - keys of a
 * page, at most KMS_LIST_MAX; 0: all keys.
 */
kms_status kms_request_for_list(kms_request *request, kms_text prefix, kms_text after, size_t limit);

/* Wipes and frees what a request owns, not the request itself. NULL is fine. */
void kms_request_clear(kms_request *request);

/*
 * Checks that the body belongs to this exchange: its `pop`, when present, is the signature's text.
 * Returns: KMS_OK; ERR_POP_BINDING.
 * In: required - whether an absent `pop` is refused as well.
 */
kms_status kms_request_check_pop(const kms_request *request, kms_text signature, bool required);

/* On whose behalf, with what and when a request is executed. */
typedef struct kms_execution {
	uint64_t app_id;
	const kms_secret *master; /* borrowed */
	kms_store *store;         /* borrowed */
	uint64_t now_ms;          /* wall clock */
	size_t max_list_bytes;    /* of the keys in the result of a LIST (MAX_LIST_BYTES) */
	kms_text pop;             /* repeated in the result; may be absent */
	bool has_sessions;        /* what a request that asks is told */
	bool says_status;         /* whether the result has "status":200, as in messages of a session */
} kms_execution;

/*
 * Executes a request.
 * Returns: KMS_OK; ERR_NOT_FOUND; what the store, kms_derive and kms_value_open return; ERR_TOO_LARGE for a
 * LIST without a limit beyond max_list_bytes. In-out: result - canonical JSON is appended; unchanged on
 * failure. A guarded buffer; for LIST a wiped one will do, since names are not secrets and can be many.
 */
kms_status kms_request_execute(kms_buf *result, const kms_request *request, const kms_execution *execution);

/* The same for one of several requests of an application. In-out: keys - of its app id and master secret. */
kms_status kms_request_execute_with(kms_buf *result, const kms_request *request,
				    const kms_execution *execution, kms_app_keys *keys);

/*
 * Adds the member "copies" to the result of a PUT or DELETE: how many members of the cluster hold the write.
 * The result has room for it since before the write, so that no write is made whose reply then fails.
 * Returns: KMS_OK; ERR_STATE when the buffer does not begin as such a result does, or has no room.
 * In-out: result - as kms_request_execute made it, in a buffer that was empty.
 */
kms_status kms_request_add_copies(kms_buf *result, uint64_t copies);

#endif
