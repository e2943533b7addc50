/*
 * The inner requests and answers of the application routes (docs/protocol.md sections 6 to 8),
 * from and to guarded memory. A request belongs to one thread at a time.
 */
#ifndef KMS_REQUEST_H
#define KMS_REQUEST_H

#include "kms/pop.h"
#include "kms/store.h"

typedef enum kms_request_kind {
	KMS_REQUEST_DERIVE, /* path, context, length */
	KMS_REQUEST_PUT,    /* key, value, ttl_ms */
	KMS_REQUEST_DELETE, /* key */
	KMS_REQUEST_GET,    /* key, from the URL: no body */
	KMS_REQUEST_LIST,   /* nothing: no body */
} kms_request_kind;

typedef struct kms_request {
	kms_request_kind kind;
	kms_buf plain;    /* guarded: the decrypted body, or the key of a GET */
	kms_text path;    /* DERIVE */
	kms_text context; /* DERIVE; empty when absent */
	uint32_t length;  /* DERIVE: bytes asked for */
	kms_text key;     /* PUT, DELETE, GET */
	uint8_t *value;   /* PUT: decoded in place, inside `plain` */
	size_t value_len;
	uint64_t ttl_ms; /* PUT; 0: never expires */
	kms_text pop;    /* absent: text NULL */
} kms_request;

/* Bounds that operators set. */
typedef struct kms_request_limits {
	size_t max_value; /* MAX_KV_VALUE_SIZE_BYTES */
	size_t max_key;   /* MAX_KEY_BYTES */
} kms_request_limits;

/*
 * Parses a decrypted body. Takes over `plain` (the caller's buffer is left empty), also on
 * failure. The text fields and the value point into it.
 * Returns: KMS_OK, ERR_JSON and its kin, ERR_APP_ID_IN_REQUEST, ERR_FIELD_MISSING,
 * ERR_FIELD_TYPE, ERR_FIELD_VALUE, ERR_BASE64, ERR_VALUE_SIZE, ERR_KEY_SIZE, ERR_TTL;
 * `field` then names the member at fault (static string), or is NULL.
 */
kms_status kms_request_parse(kms_request *request, const char **field, kms_buf *plain, kms_request_kind kind,
			     const kms_request_limits *limits);
/* A GET's request: checks and copies the percent-decoded key. */
kms_status kms_request_for_key(kms_request *request, const char *key, size_t len);
/* Wipes and frees what a request owns, not the request itself. */
void kms_request_clear(kms_request *request);

/*
 * Whether the body belongs to this exchange: its `pop`, when present, is the signature text.
 * required: an absent one is refused too. ERR_POP_BINDING.
 */
kms_status kms_request_check_pop(const kms_request *request, kms_text signature, bool required);

/* What an answer is made from. */
typedef struct kms_answer_context {
	uint64_t app_id;
	const kms_secret *master; /* borrowed */
	kms_store *store;         /* borrowed */
	uint64_t now_ms;          /* wall clock */
	kms_text echo_pop;        /* goes into the answer; absent: text NULL */
} kms_answer_context;

/*
 * Carries out a request and appends the answer as canonical JSON to `plain`: a guarded buffer,
 * for LIST a wiped one (names only, and it can be large).
 * Returns: KMS_OK, ERR_NOT_FOUND, what kms_store_* and the crypto say.
 */
kms_status kms_answer(kms_buf *plain, const kms_request *request, const kms_answer_context *context);

#endif
