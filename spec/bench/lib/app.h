/*
 * An application of a node: its identity, the node's keys, and requests signed and encrypted as any
 * client does (docs/protocol.md sections 4 and 6).
 */
#ifndef KMS_BENCH_APP_H
#define KMS_BENCH_APP_H

#include "client.h"
#include "kms/envelope.h"
#include "kms/eth_text.h"
#include "kms/p384.h"
#include "kms/wallet.h"

typedef struct app {
	const char *host; /* "127.0.0.1:8000", for the Host header */
	kms_wallet *wallet;
	kms_p384 *key;
	kms_secret *master; /* the node's, to check derived keys */
	kms_channels *channels;
	kms_secret *channel;
	uint8_t node20[20];
	uint8_t node97[KMS_P384_POINT];
} app;

typedef enum app_operation { APP_DERIVE, APP_PUT, APP_GET } app_operation;

/* One request; the exchange's request text points into `text`. */
typedef struct app_request {
	char nonce[KMS_NONCE_TEXT];
	char signature[KMS_SIGNATURE_TEXT];
	kms_buf text;
} app_request;

/*
 * Makes an application of the node that sent `status_body`.
 * In: seed_path - the demo application's seed file; master_hex - the node's master secret;
 * status_body - body of GET /status, changed in place.
 */
kms_status app_open(app *a, const char *host, const char *seed_path, const char *master_hex,
		    char *status_body, size_t status_len);
void app_close(app *a);

/* Takes the nonce from the body of GET /nonce, which is changed in place. */
kms_status app_take_nonce(app_request *request, char *body, size_t len);

/*
 * Signs, encrypts and writes the whole HTTP request.
 * In: index - names the path to derive or the key of the record; value_len - bytes of a record.
 */
kms_status app_write(app_request *request, const app *a, app_operation operation, size_t index,
		     size_t value_len);
void app_request_clear(app_request *request);

/*
 * Checks a reply: the node's signature, its envelope, the derived key or the value. The body is
 * changed in place.
 */
kms_status app_check(exchange *reply, const app_request *request, const app *a, app_operation operation,
		     size_t index, size_t value_len);

#endif
