/* A received envelope, between its parsing and its opening. */
#ifndef KMS_BIND_ENVELOPE_H
#define KMS_BIND_ENVELOPE_H

#include "bind/bind.h"
#include "kms/envelope.h"

/* The body stays where it arrived: with the request's parser, or in a buffer that was taken over. */
typedef struct kms_received {
	void **http; /* userdata of the parser, kept alive by the user value; NULL: `body` */
	kms_buf body;
	const uint8_t *data; /* where the spans point into; NULL once the body is gone */
	size_t size;
	kms_envelope parsed;
	uint8_t peer97[KMS_P384_POINT];
	bool authentic;
} kms_received;

/* Frees it, and its body where that is its own. NULL is fine. */
void kms_received_free(kms_received *e);
/* Gives the body's memory back, the parser's too; loop thread only, while its request runs. */
void kms_received_drop(kms_received *e);

#endif
