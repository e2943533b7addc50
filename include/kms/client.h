/*
 * The application's side of the protocol (docs/protocol.md sections 4 to 8): a request is built,
 * bound to its exchange and sealed, its answer verified, opened and written out, all in
 * guarded memory. The transport is the caller's.
 */
#ifndef KMS_CLIENT_H
#define KMS_CLIENT_H

#include "kms/json.h"
#include "kms/request.h"
#include "kms/p384.h"

#define KMS_CLIENT_MAX_VALUE (16u << 20) /* bytes of a value that is read */
#define KMS_CLIENT_DEFAULT_LENGTH 32     /* of a derived key, where none is asked for */
#define KMS_FINGERPRINT_MIN 16           /* bytes of a key that may be shown by its hash */

/* ---- who talks to whom ------------------------------------------------------------------------ */

/* An identity and the one node it talks to. Never changes: safe to share between threads. */
typedef struct kms_client kms_client;

/*
 * Derives the channel key (0.6 ms of P-384).
 * In: wallet - signs, borrowed for the client's life; p384 - used here only; node20, node97 -
 * the node's wallet and teePubkey: an answer that they did not sign and seal is refused.
 * Returns: KMS_OK, ERR_PEER_KEY, ERR_MEMORY, ERR_LOCKED_MEMORY, ERR_CRYPTO.
 */
kms_status kms_client_new(kms_client **client, const kms_wallet *wallet, const kms_p384 *p384,
			  const uint8_t node20[20], const uint8_t node97[97]);
void kms_client_free(kms_client *client);

/* ---- one exchange ------------------------------------------------------------------------------ */

/* A request that was made and, after kms_client_finish, its answer. One thread at a time. */
typedef struct kms_exchange {
	kms_request_kind kind;
	char signature132[KMS_SIGNATURE_TEXT]; /* for X-App-Signature */
	kms_buf name;                          /* wiped: the path or key that was asked for */
	uint32_t length;                       /* DERIVE: bytes asked for */
	/* Of the answer; empty and 0 before. */
	kms_buf plain;  /* guarded, of a LIST wiped: the inner JSON */
	kms_json json;  /* points into `plain` */
	kms_buf secret; /* guarded: DERIVE: the key, GET: the value */
	uint64_t app_id;
	uint64_t updated_at_ms; /* PUT, GET */
} kms_exchange;

/*
 * Makes a request.
 * Out: exchange - released with kms_exchange_clear; body - the sealed body is appended (GET and
 * LIST have none, nothing is).
 * In: request - kind; DERIVE: path, context (may be absent), length (0: the node's default);
 * PUT: key, value, ttl_ms; DELETE, GET: key; the rest is ignored, and `plain` and `pop`, too.
 * nonce - as the node issued it; timestamp_s - wall clock, Unix seconds.
 * Returns: KMS_OK, ERR_FIELD_MISSING (no path or key), ERR_FIELD_VALUE (length beyond
 * KMS_DERIVE_MAX), ERR_UTF8 (a path, context or key), ERR_KEY_SIZE, ERR_VALUE_SIZE,
 * ERR_LOCKED_MEMORY, ERR_MEMORY, ERR_CRYPTO.
 */
kms_status kms_client_begin(kms_exchange *exchange, kms_buf *body, const kms_client *client,
			    const kms_request *request, kms_text nonce, uint64_t timestamp_s);

/*
 * Verifies and opens the answer to it, in this order: the response signature, the envelope's
 * sender, decryption, `pop` where the answer has one, its members, and that it is about the
 * path or key that was asked for.
 * In: response_signature - X-KMS-Response-Signature, text NULL where absent; body - changed.
 * Returns: KMS_OK, ERR_SIGNATURE, ERR_SENDER_KEY, ERR_POP_BINDING, ERR_ENVELOPE, ERR_DECRYPT,
 * ERR_JSON and its kin, ERR_FIELD_MISSING, ERR_FIELD_TYPE, ERR_FIELD_VALUE, ERR_BASE64,
 * ERR_MEMORY, ERR_LOCKED_MEMORY. After a failure nothing of the answer is left.
 */
kms_status kms_client_finish(kms_exchange *exchange, const kms_client *client, kms_text response_signature,
			     char *body, size_t len);

/* Wipes and frees what an exchange owns, not the exchange itself. */
void kms_exchange_clear(kms_exchange *exchange);

/* ---- files --------------------------------------------------------------------------------------- */

typedef enum kms_format {
	KMS_FORMAT_BASE64, /* of the key or value, and a newline */
	KMS_FORMAT_HEX,    /* the same in hexadecimal */
	KMS_FORMAT_RAW,    /* its bytes, nothing else */
	KMS_FORMAT_JSON,   /* the whole inner answer as canonical JSON, and a newline */
} kms_format;

/*
 * Writes what was answered to a file descriptor, straight from guarded memory; it waits
 * where the descriptor does. Only JSON is possible for PUT, DELETE and LIST (ERR_ARGUMENT).
 * Returns: KMS_OK, ERR_STATE (no answer), ERR_SYSTEM, ERR_MEMORY, ERR_LOCKED_MEMORY.
 */
kms_status kms_exchange_write(int fd, const kms_exchange *exchange, kms_format format);

/*
 * What tells two derived keys apart and gives neither away: the first four bytes of the key's
 * SHA-256.
 * Out: text8 - hexadecimal digits, not terminated.
 * Returns: KMS_OK, ERR_STATE (no answer), ERR_ARGUMENT (not a key, or one of less than
 * KMS_FINGERPRINT_MIN bytes, which could be found by trying), ERR_CRYPTO.
 */
kms_status kms_exchange_fingerprint(char text8[8], const kms_exchange *exchange);

/*
 * Appends all of a file to `value`, a guarded buffer; "-" is the standard input.
 * Returns: KMS_OK, ERR_FILE_MISSING (or not readable), ERR_VALUE_SIZE beyond `max` bytes,
 * ERR_SYSTEM, ERR_LOCKED_MEMORY; `value` is then emptied.
 */
kms_status kms_value_read(kms_buf *value, const char *path, size_t max);

#endif
