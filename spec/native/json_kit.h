/* Documents for the tests of JSON. */
#ifndef KMS_SPEC_JSON_KIT_H
#define KMS_SPEC_JSON_KIT_H

#include "kms/buf.h"
#include "kms/json.h"
#include "material.h"

#define MAX_VALUES 100000

/* A document over a copy of its text of exactly that size, so that ASan reports a read beyond it. */
typedef struct doc {
	char *text;
	kms_json json;
} doc;

static inline kms_status doc_parse(doc *d, const char *text, size_t len, size_t max)
{
	d->text = malloc(len ? len : 1);
	if (!d->text) abort();
	memcpy(d->text, text, len);
	return kms_json_parse(&d->json, d->text, len, max);
}

static inline void doc_free(doc *d)
{
	kms_json_free(&d->json);
	free(d->text);
}

#endif
