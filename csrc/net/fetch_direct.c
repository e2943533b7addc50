/*
 * Transfers without libcurl: which ones, and the head of their requests (fetch.h). fetch_link.c carries them.
 */
#include "net/fetch_internal.h"

#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "kms/address.h"
#include "kms/codec.h"

#define MAX_OWN_BYTES 256 /* of a request's head: what neither URL nor caller brings */

static bool read_address(struct sockaddr_storage *address, const char *host, const char *port_text)
{
	char text[64];
	uint64_t port = 0;
	size_t len = strlen(host);
	if (kms_decimal_parse(&port, kms_text_from(port_text)) != KMS_OK || port > UINT16_MAX) return false;
	if (host[0] != '[') return uv_ip4_addr(host, (int)port, (struct sockaddr_in *)address) == 0;
	if (len < 3 || len >= sizeof(text)) return false;
	memcpy(text, host + 1, len - 2);
	text[len - 2] = '\0';
	return uv_ip6_addr(text, (int)port, (struct sockaddr_in6 *)address) == 0;
}

static bool is_public(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
	kms_span bytes = address->ss_family == AF_INET ? kms_span_of(&in->sin_addr, sizeof(in->sin_addr))
						       : kms_span_of(&in6->sin6_addr, sizeof(in6->sin6_addr));
	return kms_address_classify(bytes) == KMS_ADDRESS_PUBLIC;
}

/* libcurl encodes the other bytes of a URL when it sends them. */
static bool is_ascii(const char *text)
{
	while (*text && (unsigned char)*text < 0x80)
		text++;
	return *text == '\0';
}

/* A part of the parsed URL, as text that curl_free frees; NULL when it has none. */
static char *part_of(const kms_fetch *fetch, CURLUPart part, unsigned flags)
{
	char *text = NULL;
	return curl_url_get(fetch->url, part, &text, flags) == CURLUE_OK ? text : NULL;
}

static kms_status append_all(kms_buf *buf, const char *const *texts)
{
	for (; *texts; texts++)
		GUARD(kms_buf_append_text(buf, *texts));
	return KMS_OK;
}

/* The request line and Host. */
static kms_status write_head(kms_buf *head, const kms_fetch *fetch, const char *method, const char *host)
{
	char *path = part_of(fetch, CURLUPART_PATH, 0), *query = part_of(fetch, CURLUPART_QUERY, 0);
	char *port = part_of(fetch, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
	const char *const texts[] = { method,
				      " ",
				      path ? path : "/",
				      query ? "?" : "",
				      query ? query : "",
				      " HTTP/1.1\r\nHost: ",
				      host,
				      port ? ":" : "",
				      port ? port : "",
				      "\r\n",
				      NULL };
	kms_status status = append_all(head, texts);
	curl_free(path);
	curl_free(query);
	curl_free(port);
	return status;
}

kms_status fetch_direct_init(kms_fetch *fetch, const kms_fetch_request *request, const char *host)
{
	struct sockaddr_storage address = { 0 };
	char *scheme = part_of(fetch, CURLUPART_SCHEME, 0);
	char *port = part_of(fetch, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	char *zone = part_of(fetch, CURLUPART_ZONEID, 0); /* the host comes without it */
	bool suits = scheme && port && !zone && strcmp(scheme, "http") == 0 &&
		     strcmp(request->method, "HEAD") != 0 && !request->proxy && !request->unix_socket &&
		     !request->stall_s && is_ascii(request->url) && read_address(&address, host, port);
	/* libcurl refuses the others. */
	suits = suits && (!request->check_address || is_public(&address));
	curl_free(scheme);
	curl_free(port);
	curl_free(zone);
	if (!suits) return KMS_OK;
	fetch->direct = kms_heap_alloc(1, sizeof(*fetch->direct));
	ENSURE(fetch->direct, KMS_ERR_MEMORY);
	fetch->direct->kind = request->direct;
	fetch->direct->address = address;
	fetch->direct->body = request->body;
	fetch->direct->head =
	    kms_buf_make(KMS_BUF_WIPED, KMS_FETCH_MAX_URL + KMS_FETCH_MAX_SENT_HEADER + MAX_OWN_BYTES);
	return write_head(&fetch->direct->head, fetch, request->method, host);
}

kms_status fetch_direct_append_line(kms_fetch *fetch, const char *line)
{
	GUARD(kms_buf_append_text(&fetch->direct->head, line));
	return kms_buf_append_text(&fetch->direct->head, "\r\n");
}

void fetch_direct_free(kms_fetch *fetch)
{
	if (!fetch->direct) return;
	kms_buf_free(&fetch->direct->head);
	kms_heap_free(fetch->direct);
	fetch->direct = NULL;
}
