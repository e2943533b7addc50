/*
 * Sessions: after one opening that costs signatures and key agreements, each request is one AES-256-GCM
 * message each way, under keys that nobody can derive again once both sides have erased them.
 *
 *     request   sid (16) || seq (8, big-endian) || sealed under c2s: content || tag (16)
 *     answer    seq (8)                         || sealed under s2c: content || tag (16)
 *     content   Unix time in ms (8) || length of the JSON (4) || JSON || zeros up to a multiple of 256
 *
 * The IV is four zeros and seq; "nova-kms", sid and seq are authenticated with the content. This header has
 * what both sides share and the caller's side; session_table.h has the node's.
 */
#ifndef KMS_SESSION_H
#define KMS_SESSION_H

#include "kms/buf.h"
#include "kms/secret.h"
#include "kms/x25519.h"

#define KMS_SESSION_SUITE "x25519-sha256-aes256gcm"
#define KMS_SESSION_SID 16
#define KMS_SESSION_HEAD 24                       /* sid and seq, in front of a request */
#define KMS_SESSION_ANSWER_HEAD 8                 /* seq, in front of an answer */
#define KMS_SESSION_WINDOW 1024                   /* how far a request may be behind the highest seq */
#define KMS_SESSION_PADDING 256                   /* content is a multiple of it */
#define KMS_SESSION_MAX_SEQ (UINT64_C(1) << 32)   /* of one session's requests */
#define KMS_SESSION_MAX_CONTENT ((size_t)1 << 32) /* bytes, padding included */

/* ---- opening: any thread ------------------------------------------------------------------------- */

/*
 * What the keys of a session are bound to: SHA-256 of the text that the caller signed, the request's body and
 * the answer's body, each after its length (8 bytes, big-endian). Returns: KMS_OK; ERR_ARGUMENT; as
 * kms_sha256.
 */
kms_status kms_session_salt(uint8_t salt32[32], kms_span signed_text, kms_span request_body,
			    kms_span answer_body);

/* What both sides know once the opening is answered. */
typedef struct kms_session_terms {
	uint8_t sid16[KMS_SESSION_SID];
	uint8_t peer_e32[KMS_X25519_BYTES]; /* the other side's ephemeral key */
	uint8_t salt32[32];
} kms_session_terms;

/*
 * A member's proof, in one message of one session, that it holds the master secret: HMAC-SHA256 under the
 * sync key over "nova-kms:session-mac:", salt and seq (8 bytes, big-endian). Returns: KMS_OK; ERR_ARGUMENT;
 * as kms_hmac_sha256.
 */
kms_status kms_session_mac(uint8_t mac32[32], const kms_secret *sync_key32, const uint8_t salt32[32],
			   uint64_t seq);
/* Checks such a proof in constant time. Returns: KMS_OK; ERR_MAC, also unless it is 64 digits; as above. */
kms_status kms_session_mac_check(kms_text digits, const kms_secret *sync_key32, const uint8_t salt32[32],
				 uint64_t seq);

/* ---- what the envelopes of an opening hold: one thread at a time per buffer -------------------------- */

#define KMS_SESSION_MAX_ENDS 8

/* What a caller asks for: its ephemeral key, and sessions of its own that end first. */
typedef struct kms_session_offer {
	uint8_t e32[KMS_X25519_BYTES];
	uint8_t ends16[KMS_SESSION_MAX_ENDS][KMS_SESSION_SID];
	size_t ends_count;
} kms_session_offer;

/* What the node answers. */
typedef struct kms_session_grant {
	uint8_t e32[KMS_X25519_BYTES];
	uint8_t sid16[KMS_SESSION_SID];
	uint64_t expires_s;      /* seconds of its life */
	uint64_t max_operations; /* of a message */
} kms_session_grant;

/* The most that a caller takes of what a node says; what is more counts as this. */
#define KMS_SESSION_MAX_LIFE_S 604800    /* of expires_s: no node of this project can be set to more */
#define KMS_SESSION_MAX_OPERATIONS 256   /* of max_operations */
#define KMS_SESSION_MAX_WAIT_S 999999999 /* of retry_after_s, and of Retry-After */

/*
 * Append canonical JSON; the suite is KMS_SESSION_SUITE.
 * Returns: KMS_OK; ERR_RANGE for more than KMS_SESSION_MAX_ENDS; ERR_ARGUMENT; as kms_buf_append.
 */
kms_status kms_session_offer_write(kms_buf *json, const kms_session_offer *offer);
kms_status kms_session_grant_write(kms_buf *json, const kms_session_grant *grant);

/*
 * Parse the JSON of an opened envelope. An offer has no other members than it may have; those of a grant that
 * this version does not know are ignored. Returns: KMS_OK; what kms_json_parse returns; ERR_FIELD_MISSING;
 * ERR_FIELD_TYPE; ERR_FIELD_VALUE, also for another suite or operation; ERR_FIELD_UNKNOWN; ERR_ARGUMENT. Out:
 * offer, grant - zero on failure. field - the member at fault (static string), or NULL. In-out: plain -
 * changed by the parser.
 */
kms_status kms_session_offer_parse(kms_session_offer *offer, const char **field, kms_buf *plain);
kms_status kms_session_grant_parse(kms_session_grant *grant, const char **field, kms_buf *plain);

/* ---- messages: one thread at a time per buffer ---------------------------------------------------- */

/*
 * Makes an empty buffer ready for the JSON of a message, which the caller appends. Sealing allocates nothing
 * as long as the JSON is not longer than announced. Returns: KMS_OK; ERR_ARGUMENT for a buffer that is
 * neither guarded nor wiped, or not empty; ERR_TOO_LARGE; ERR_MEMORY; ERR_LOCKED_MEMORY. In: json_len - the
 * longest JSON that is to come.
 */
kms_status kms_session_request_begin(kms_buf *message, size_t json_len);
kms_status kms_session_answer_begin(kms_buf *message, size_t json_len);

/* What a message says; the text points into the message's buffer. */
typedef struct kms_session_content {
	uint64_t time_ms; /* when it was sealed: wall clock, Unix milliseconds */
	kms_text json;    /* not parsed yet */
} kms_session_content;

/*
 * Leaves of an opened message its JSON alone, at the beginning of the buffer; the rest is wiped.
 * In-out: message - what content, which is zero afterwards, points into.
 */
void kms_session_keep_json(kms_buf *message, kms_session_content *content);

/* ---- refusals: any thread ------------------------------------------------------------------------ */

#define KMS_SESSION_REFUSAL 256 /* bytes of the longest one, as operations.h writes it */

/* A refusal of a whole message, with copies of its texts. */
typedef struct kms_session_refused {
	unsigned status; /* of HTTP: 300 to 599 */
	size_t code_len;
	size_t message_len;
	char code[KMS_SESSION_REFUSAL];
	char message[KMS_SESSION_REFUSAL];
	uint64_t retry_after_s; /* 0: does not say */
} kms_session_refused;

/*
 * Reads the JSON of an answer as a refusal: an object whose `status` is a number.
 * Returns: KMS_OK; ERR_NOT_FOUND for JSON that is none; ERR_MEMORY; ERR_ARGUMENT. Out: refused - zero on
 * failure.
 */
kms_status kms_session_refused_read(kms_session_refused *refused, kms_text json);

/* ---- the caller's side: any thread; objects may be shared ------------------------------------------ */

typedef struct kms_session_caller kms_session_caller;

/*
 * Derives the keys of a session that a node has opened.
 * Returns: KMS_OK; ERR_PEER_KEY; ERR_ARGUMENT; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: caller - owned by the caller, free with kms_session_caller_free; NULL on failure.
 * In-out: own - erased and NULL afterwards, also on failure.
 */
kms_status kms_session_caller_new(kms_session_caller **caller, kms_x25519 **own,
				  const kms_session_terms *terms);
/* Erases the keys. NULL is fine. */
void kms_session_caller_free(kms_session_caller *caller);
KMS_DEFINE_RELEASE(kms_session_caller_release, kms_session_caller, kms_session_caller_free)

/* Its salt (kms_session_mac) and sid: borrowed, valid as long as the object. */
const uint8_t *kms_session_caller_salt(const kms_session_caller *caller);
const uint8_t *kms_session_caller_sid(const kms_session_caller *caller);

/*
 * Takes the number of the next request: 1, 2 and so on, each once. A request that is sent again takes a new
 * one. Returns: KMS_OK; ERR_STATE after KMS_SESSION_MAX_SEQ: the session is used up. Out: seq - 0 on failure.
 */
kms_status kms_session_caller_take(uint64_t *seq, kms_session_caller *caller);

/*
 * Seals a request where it stands.
 * Returns: KMS_OK; ERR_STATE for a number that was not taken, that has sealed a request or that is too far
 * behind for the node (KMS_SESSION_WINDOW), or without kms_session_request_begin; ERR_TOO_LARGE; ERR_MEMORY;
 * ERR_LOCKED_MEMORY; ERR_CRYPTO; ERR_ARGUMENT. In-out: message - what kms_session_request_begin made, and the
 * JSON; then the request; empty on failure. In: time_ms - wall clock, Unix milliseconds.
 */
kms_status kms_session_request_seal(kms_buf *message, kms_session_caller *caller, uint64_t seq,
				    uint64_t time_ms);

/*
 * Opens an answer where it stands.
 * Returns: KMS_OK; ERR_DECRYPT unless it is the answer to this request of this session; ERR_TRUNCATED and
 * ERR_TRAILING for content that is authentic and malformed: JSON longer than the content, padding that is not
 * zero or not the shortest; ERR_CRYPTO; ERR_ARGUMENT. Out: content - zero on failure. In-out: message - the
 * answer, in a guarded or wiped buffer; changed; empty on failure. In: seq - the request's.
 */
kms_status kms_session_answer_open(kms_session_content *content, kms_buf *message,
				   const kms_session_caller *caller, uint64_t seq);

#endif
