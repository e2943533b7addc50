#include "bind/envelope_handle.h"

#include "base/mem.h"
#include "net/http.h"

kms_buf *bind_envelope_body(bind_envelope *e)
{
	if (!e->http) return &e->body;
	return *e->http ? kms_http_body(*e->http) : NULL;
}

kms_buf *bind_envelope_parsed_body(bind_envelope *e)
{
	kms_buf *body = bind_envelope_body(e);
	return body && e->data && body->data == e->data && body->len == e->size ? body : NULL;
}

void bind_envelope_drop_body(bind_envelope *e)
{
	bool held = bind_envelope_parsed_body(e) != NULL;
	if (held && e->http) kms_http_release_body(*e->http);
	if (held && !e->http) kms_buf_free(&e->body);
	e->data = NULL;
}

void bind_envelope_free(bind_envelope *e)
{
	if (!e) return;
	kms_buf_free(&e->body);
	kms_heap_free(e);
}
