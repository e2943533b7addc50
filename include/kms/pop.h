/*
 * Proof of possession (docs/protocol.md section 4): the texts that callers and nodes sign, and
 * their verification.
 *
 * Threads: any.
 */
#ifndef KMS_POP_H
#define KMS_POP_H

#include "kms/buf.h"
#include "kms/eth_text.h"
#include "kms/nonce.h"
#include "kms/view.h"
#include "kms/wallet.h"

typedef enum kms_pop_domain {
	KMS_POP_APP = 0,          /* "NovaKMS:AppAuth" */
	KMS_POP_PEER = 1,         /* "NovaKMS:Auth" */
	KMS_POP_APP_SESSION = 2,  /* "NovaKMS:AppSession": opens a session, and covers the body */
	KMS_POP_PEER_SESSION = 3, /* "NovaKMS:PeerSession": the same, for a member */
} kms_pop_domain;

/* The header values of a request; an absent text is an absent header. */
typedef struct kms_pop {
	kms_pop_domain domain;
	kms_text signature;
	kms_text nonce;
	kms_text timestamp;
	kms_text wallet; /* optional */
	/* SHA-256 of the body, 32 bytes: with the two domains of sessions, and only there */
	const uint8_t *body32;
} kms_pop;

/*
 * Authenticates a request, in the order of docs/protocol.md section 4: the nonce is consumed before
 * the signature is verified.
 * Returns: KMS_OK; ERR_POP_MISSING; ERR_POP_TIMESTAMP; ERR_POP_NONCE; ERR_POP_NONCE_USED; ERR_SIGNATURE;
 * ERR_POP_WALLET when the wallet header names another wallet; ERR_CRYPTO.
 * Out: caller20 - the wallet that signed.
 * In: own20 - this node's wallet. now_s - wall clock, Unix seconds. mono_s - monotonic seconds, for
 * the nonce. window_s - the largest difference of the timestamp from now_s.
 */
kms_status kms_pop_check(uint8_t caller20[20], kms_nonces *nonces, const kms_pop *pop,
			 const uint8_t own20[20], uint64_t now_s, uint64_t mono_s, uint64_t window_s);

/*
 * The caller's side: signs a request for one recipient.
 * Returns: KMS_OK; ERR_RANGE for a nonce of 0 or more than 128 bytes; ERR_CRYPTO.
 * Out: signature132 - hex text, no NUL.
 * In: nonce - the text as the recipient issued it. timestamp_s - wall clock, Unix seconds.
 */
kms_status kms_pop_sign(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet,
			kms_pop_domain domain, kms_text nonce, const uint8_t recipient20[20],
			uint64_t timestamp_s);

/*
 * The same for the opening of a session, whose signature covers the request's body.
 * Returns: as kms_pop_sign; ERR_ARGUMENT for another domain than those of sessions.
 * In: body32 - SHA-256 of the body.
 */
kms_status kms_pop_sign_session(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet,
				kms_pop_domain domain, kms_text nonce, const uint8_t recipient20[20],
				uint64_t timestamp_s, const uint8_t body32[32]);

/*
 * The text that a caller signs: the salt of a session begins with it.
 * Returns: KMS_OK; ERR_RANGE for an absent nonce or timestamp, or a longer one than a signature may cover;
 * ERR_ARGUMENT; as kms_buf_append.
 * In-out: text - the text is appended.
 * In: pop - its domain, nonce, timestamp and body32.
 */
kms_status kms_pop_text(kms_buf *text, const kms_pop *pop, const uint8_t recipient20[20]);

/*
 * The node's side of a reply: signs "NovaKMS:Response:<caller's signature text>:<own wallet>".
 * Returns: KMS_OK; ERR_RANGE for a caller signature of 0 or more than 132 bytes; ERR_CRYPTO.
 * Out: signature132 - hex text, no NUL.
 */
kms_status kms_response_sign(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet,
			     kms_text caller_signature);

/*
 * The caller's check of a response signature.
 * Returns: KMS_OK; ERR_SIGNATURE when it is absent, malformed or not the node's; ERR_RANGE for a
 * caller signature of more than 132 bytes.
 * In: response_signature, caller_signature - may be absent. node20 - the node's wallet.
 */
kms_status kms_response_check(kms_text response_signature, kms_text caller_signature,
			      const uint8_t node20[20]);

/*
 * The node's side of the reply that opens a session: signs "NovaKMS:SessionAnswer:<caller's signature text>:
 * <own wallet>:<SHA-256 of the reply's body in hex>".
 * Returns: as kms_response_sign.
 * In: body32 - SHA-256 of the reply's body.
 */
kms_status kms_session_answer_sign(char signature132[KMS_SIGNATURE_TEXT], const kms_wallet *wallet,
				   kms_text caller_signature, const uint8_t body32[32]);

/*
 * The caller's check of that signature.
 * Returns, In: as kms_response_check. body32 - SHA-256 of the body that came.
 */
kms_status kms_session_answer_check(kms_text answer_signature, kms_text caller_signature,
				    const uint8_t node20[20], const uint8_t body32[32]);

#endif
