/* What requests of an application and messages of its sessions share. */
#ifndef KMS_PROTOCOL_CLIENT_INTERNAL_H
#define KMS_PROTOCOL_CLIENT_INTERNAL_H

#include <stdatomic.h>

#include "kms/client.h"

#define CLIENT_MAX_VALUES (1u << 20) /* JSON values of a result; a LIST has the most */
#define CLIENT_MAX_NAME 65536        /* bytes of a path, context, key or prefix */

struct kms_client {
	atomic_bool binds; /* the node has repeated `pop` in a reply */
	const kms_wallet *wallet;
	kms_secret *channel;
	uint8_t own97[97];
	uint8_t node20[20];
	uint8_t node97[97];
};

/* Whether a request of its own has a body. */
static inline bool client_has_body(kms_request_kind kind)
{
	return kind == KMS_REQUEST_DERIVE || kind == KMS_REQUEST_PUT || kind == KMS_REQUEST_DELETE;
}

/* Whether any node could take the request. Returns: as kms_client_begin. */
kms_status client_request_check(const kms_request *request);

/* Bytes that its JSON takes at most. */
size_t client_request_bound(const kms_request *request);

/* Appends the inner request, canonical. In: pop - absent in a session. */
kms_status client_request_write(kms_buf *json, const kms_request *request, kms_text pop);

/* An exchange that waits for the result of this request: its kind, name and length. */
kms_status client_exchange_expect(kms_exchange *exchange, const kms_request *request);

/* Parses exchange->plain, which must be a JSON object. */
kms_status client_result_parse(kms_exchange *exchange);
/*
 * Reads it as the result: exactly the members of the operation.
 * In: also - how many members it has beside them, which the caller has checked.
 */
kms_status client_result_read(kms_exchange *exchange, uint32_t also);

/* Drops the result; what was asked for stays. */
void client_result_clear(kms_exchange *exchange);

#endif
