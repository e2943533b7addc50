/* A received envelope, between its parsing and its opening. */
#ifndef BIND_ENVELOPE_HANDLE_H
#define BIND_ENVELOPE_HANDLE_H

#include "bind/bind.h"
#include "kms/envelope.h"

/* The body stays where it arrived: in the request's parser, or in a buffer that the envelope owns. */
typedef struct bind_envelope {
	void **http; /* userdata of the parser, kept alive by the user value; NULL: see `body` */
	kms_buf body;
	const uint8_t *data; /* of the body, which `parsed` points into; NULL once it is gone */
	size_t size;
	kms_envelope parsed;
	uint8_t peer97[KMS_P384_POINT];
	bool authentic;
} bind_envelope;

/* Frees the handle and its own body. NULL is fine. */
void bind_envelope_free(bind_envelope *e);
/* Releases the body, also the parser's. Only on the loop thread, while the request runs. */
void bind_envelope_drop_body(bind_envelope *e);

/* The buffer that holds the body; NULL when the parser is gone. */
kms_buf *bind_envelope_body(bind_envelope *e);
/* The same; NULL once the server has dropped the body that was parsed. */
kms_buf *bind_envelope_parsed_body(bind_envelope *e);

#endif
