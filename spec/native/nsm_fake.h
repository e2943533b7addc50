/* What the two files of the fake Nitro device share; nsm_fake.c describes it. */
#ifndef KMS_SPEC_NSM_FAKE_H
#define KMS_SPEC_NSM_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NSM_RESPONSE_MAX 12288

typedef struct nsm_bytes {
	uint8_t data[2 * NSM_RESPONSE_MAX];
	size_t len;
} nsm_bytes;

static inline bool is(const char *fault, const char *name)
{
	return strcmp(fault, name) == 0;
}

/* The C library's own function of a name that the fake takes. */
void *nsm_fake_next(const char *name);

/* Appends bytes; ends the process when there is no room. */
void nsm_fake_put(nsm_bytes *out, const void *data, size_t len);

/* The module's response to a request, damaged as `fault` says ("" for none). */
void nsm_fake_respond(nsm_bytes *response, const nsm_bytes *request, const char *fault);

#endif
