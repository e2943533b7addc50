/*
 * The application's side of the protocol (docs/protocol.md sections 4 to 8): builds a request, binds it
 * to its exchange and seals it; verifies, opens and writes out the reply. Keys and values stay in
 * guarded memory. The caller does the transport.
 */
#ifndef KMS_CLIENT_H
#define KMS_CLIENT_H

#include "kms/json.h"
#include "kms/p384.h"
#include "kms/request.h"

#define KMS_CLIENT_MAX_VALUE (16u << 20) /* bytes of the largest value that kms_value_read is to read */
#define KMS_CLIENT_DEFAULT_LENGTH 32     /* bytes of a derived key when the request names no length */
#define KMS_FINGERPRINT_MIN 16           /* bytes of the shortest key that may be shown by its hash */

/* ---- clients ------------------------------------------------------------------------------------ */

/*
 * An identity and the one node that it calls.
 * It remembers whether the node repeats `pop` in its replies, and then insists on it.
 * Threads: any; objects may be shared.
 */
typedef struct kms_client kms_client;

/*
 * Makes a client and derives its channel key (0.6 ms of P-384).
 * Returns: KMS_OK; ERR_PEER_KEY; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_SYSTEM; ERR_CRYPTO.
 * Out: client - free with kms_client_free.
 * In: wallet - signs; borrowed for the client's life. p384 - used only in this call. node20, node97 -
 * the node's wallet and teePubkey: the client refuses replies that others signed or sealed.
 */
kms_status kms_client_new(kms_client **client, const kms_wallet *wallet, const kms_p384 *p384,
			  const uint8_t node20[20], const uint8_t node97[97]);
void kms_client_free(kms_client *client);

/*
 * Insists from now on that the node repeats `pop`: the caller knows that it does, such as from an earlier
 * process (docs/protocol.md section 6). NULL is fine.
 */
void kms_client_require_pop(kms_client *client);

/* ---- exchanges ---------------------------------------------------------------------------------- */

/* A refusal inside a message of a session; its texts point into the exchange. */
typedef struct kms_refused {
	unsigned status;        /* of HTTP; 0: there is none */
	kms_text code;          /* docs/protocol.md section 2 */
	kms_text message;       /* of the node's choice */
	uint64_t retry_after_s; /* 0: does not say */
} kms_refused;

/*
 * A request and, after kms_client_finish, the result in its reply.
 * Threads: one at a time per exchange.
 */
typedef struct kms_exchange {
	kms_request_kind kind;
	char signature132[KMS_SIGNATURE_TEXT]; /* for X-App-Signature */
	kms_buf name;                          /* wiped: the path or key asked for */
	uint32_t length;                       /* DERIVE: bytes asked for */
	bool asks_sessions;                    /* the node is asked whether it has sessions */
	/* The result; empty before kms_client_finish. */
	kms_buf plain;  /* guarded, of a LIST wiped: the inner JSON */
	kms_json json;  /* points into `plain` */
	kms_buf secret; /* guarded; DERIVE: the key, GET: the value */
	uint64_t app_id;
	uint64_t updated_at_ms; /* PUT, GET */
	uint64_t copies;        /* PUT, DELETE: members that hold the write; 0 when the node does not say */
	bool has_sessions;      /* the node says that it has sessions */
	kms_refused refusal;    /* of an operation in a session: then there is no result */
} kms_exchange;

/*
 * Builds, signs and seals a request.
 * Returns: KMS_OK; ERR_FIELD_MISSING without a path or key; ERR_FIELD_VALUE for a length beyond
 * KMS_DERIVE_MAX; ERR_UTF8; ERR_KEY_SIZE; ERR_VALUE_SIZE; ERR_RANGE for a nonce out of range;
 * ERR_TOO_LARGE; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_SYSTEM; ERR_CRYPTO.
 * Out: exchange - free with kms_exchange_clear.
 * In-out: body - the sealed body is appended; GET and LIST have none.
 * In: request - DERIVE: path, context (may be absent), length (0: the node's default); PUT: key, value,
 * ttl_ms; DELETE, GET: key; the other fields are ignored, but for asks_sessions: the body then is one that
 * nodes of every version take. nonce - as the node issued it. timestamp_s - wall clock, Unix seconds.
 */
kms_status kms_client_begin(kms_exchange *exchange, kms_buf *body, const kms_client *client,
			    const kms_request *request, kms_text nonce, uint64_t timestamp_s);

/*
 * Verifies and opens the reply, in this order: the response signature, the envelope's sender,
 * decryption, `pop` when the result has one or must have one, and its members: exactly those of a reply to
 * this operation, about the path or key asked for.
 * Returns: KMS_OK; ERR_STATE for an exchange that has not begun or has a result; ERR_SIGNATURE;
 * ERR_ENVELOPE; ERR_SENDER_KEY; ERR_DECRYPT; ERR_POP_BINDING; what kms_json_parse returns;
 * ERR_FIELD_MISSING; ERR_FIELD_TYPE; ERR_FIELD_VALUE; ERR_FIELD_UNKNOWN; ERR_BASE64; ERR_MEMORY;
 * ERR_LOCKED_MEMORY.
 * In-out: exchange - gains the result; has none after a failure. body - decoded in place,
 * unspecified afterwards; an empty one is ERR_ENVELOPE.
 * In: response_signature - X-KMS-Response-Signature; may be absent, which is ERR_SIGNATURE.
 */
kms_status kms_client_finish(kms_exchange *exchange, kms_buf *body, kms_client *client,
			     kms_text response_signature);

/* Wipes and frees what an exchange owns, not the exchange itself. NULL is fine. */
void kms_exchange_clear(kms_exchange *exchange);

/* ---- files -------------------------------------------------------------------------------------- */

typedef enum kms_format {
	KMS_FORMAT_BASE64, /* of the key or value, and a newline */
	KMS_FORMAT_HEX,    /* the same in hexadecimal */
	KMS_FORMAT_RAW,    /* its bytes, nothing else */
	KMS_FORMAT_JSON,   /* the whole inner JSON in canonical form, and a newline */
} kms_format;

/*
 * Writes the result to a file descriptor, straight from guarded memory. Blocks while the descriptor does.
 * Returns: KMS_OK; ERR_STATE without a result; ERR_ARGUMENT for a PUT, DELETE or LIST in another
 * format than JSON; ERR_SYSTEM; ERR_MEMORY; ERR_LOCKED_MEMORY.
 */
kms_status kms_exchange_write(int fd, const kms_exchange *exchange, kms_format format);

/*
 * Tells derived keys apart without revealing them: the first four bytes of the key's SHA-256.
 * Returns: KMS_OK; ERR_STATE without a result; ERR_ARGUMENT when it is not a key, or one of less than
 * KMS_FINGERPRINT_MIN bytes, which could be guessed from its hash; ERR_CRYPTO.
 * Out: text8 - hexadecimal digits, no NUL.
 */
kms_status kms_exchange_fingerprint(char text8[8], const kms_exchange *exchange);

/*
 * Reads a whole file. Blocks while the file does.
 * Returns: KMS_OK; ERR_FILE_MISSING when there is none; ERR_VALUE_SIZE beyond `max` bytes;
 * ERR_SYSTEM, also when it cannot be opened; ERR_LOCKED_MEMORY; ERR_ARGUMENT.
 * In-out: value - a guarded buffer to append to; empty after a failure.
 * In: path - "-" is the standard input.
 */
kms_status kms_value_read(kms_buf *value, const char *path, size_t max);

#endif
