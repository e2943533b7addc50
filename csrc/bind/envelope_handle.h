/* A received envelope, between its parsing and its opening. */
#ifndef BIND_ENVELOPE_HANDLE_H
#define BIND_ENVELOPE_HANDLE_H

#include "bind/bind.h"
#include "kms/envelope.h"

/* The body stays where it arrived: in the request's parser, or in a buffer that the envelope owns. */
typedef struct bind_envelope {
	void **http; /* userdata of the parser, kept alive by the user value; NULL: `body` */
	kms_buf body;
	const uint8_t *data; /* where the spans point into; NULL once the body is gone */
	size_t size;
	kms_envelope parsed;
	uint8_t peer97[KMS_P384_POINT];
	bool authentic;
} bind_envelope;

/* Frees it, and its body where that is its own. NULL is fine. */
void bind_envelope_free(bind_envelope *e);
/* Gives the body's memory back, the parser's too; loop thread only, while its request runs. */
void bind_envelope_drop_body(bind_envelope *e);

/* The buffer that holds the body; NULL when the parser is gone. */
kms_buf *bind_envelope_body(bind_envelope *e);
/* The same while the body is as it was parsed; NULL once the server has dropped it. */
kms_buf *bind_envelope_parsed_body(bind_envelope *e);

#endif
