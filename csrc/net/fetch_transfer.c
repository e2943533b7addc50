/* One transfer: options of libcurl, the arriving body, the outcome. */
#include "net/fetch_internal.h"

#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/ensure.h"
#include "kms/address.h"

#define SMALL_RESPONSE 16384u /* bytes */
#define SMALL_BUFFER 4096L
#define LARGE_BUFFER 16384L

/* ---- arriving data ---------------------------------------------------------------------------- */

/* Reserves the announced length: growing step by step would copy the body again and again. */
static void reserve_announced(kms_fetch *fetch)
{
	curl_off_t announced = -1;
	if (curl_easy_getinfo(fetch->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced) != CURLE_OK)
		return;
	if (announced <= 0 || (uint64_t)announced > fetch->body.max) return;
	/* A failure is ignored: the body then grows as it arrives. */
	(void)!kms_buf_reserve(&fetch->body, (size_t)announced);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	kms_fetch *fetch = context;
	if (!fetch->body.cap) reserve_announced(fetch);
	kms_status status = kms_buf_append(&fetch->body, kms_span_of(bytes, size * count));
	/* For an empty piece 0 is both its length and no failure. */
	return status == KMS_OK ? size * count : fetch_refuse(fetch, status);
}

/* CURLOPT_OPENSOCKETFUNCTION: called with each address that libcurl is about to connect to. */
static curl_socket_t on_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	kms_fetch *fetch = context;
	kms_address_class class = KMS_ADDRESS_RESERVED;

	if (purpose != CURLSOCKTYPE_IPCXN) return CURL_SOCKET_BAD;
	if (address->family == AF_INET && address->addrlen >= sizeof(struct sockaddr_in)) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&address->addr;
		class = kms_address_classify(kms_span_of(&in->sin_addr, sizeof(in->sin_addr)));
	}
	if (address->family == AF_INET6 && address->addrlen >= sizeof(struct sockaddr_in6)) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&address->addr;
		class = kms_address_classify(kms_span_of(&in6->sin6_addr, sizeof(in6->sin6_addr)));
	}
	if (fetch->check_socket && class != KMS_ADDRESS_PUBLIC) {
		fetch->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- options ---------------------------------------------------------------------------------- */

static kms_status parse_url(CURLU **parsed, char **host, const char *url)
{
	char *scheme = NULL;
	CURLU *u = curl_url();
	ENSURE(u, KMS_ERR_MEMORY);
	*parsed = u;
	ENSURE(strlen(url) <= KMS_FETCH_MAX_URL, KMS_ERR_URL);
	/* libcurl also accepts one slash, or three. */
	const char *slashes = strstr(url, "://");
	ENSURE(slashes && slashes[3] != '/', KMS_ERR_URL);
	/* Send "/a/../b" unchanged. */
	unsigned flags = CURLU_DISALLOW_USER | CURLU_PATH_AS_IS;
	ENSURE(curl_url_set(u, CURLUPART_URL, url, flags) == CURLUE_OK, KMS_ERR_URL);
	ENSURE(curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK, KMS_ERR_URL);
	bool known = strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0;
	curl_free(scheme);
	ENSURE(known, KMS_ERR_URL);
	ENSURE(curl_url_get(u, CURLUPART_HOST, host, 0) == CURLUE_OK, KMS_ERR_URL);
	return (*host)[0] ? KMS_OK : KMS_ERR_URL;
}

static kms_status check_proxy(const char *proxy)
{
	ENSURE(strncasecmp(proxy, "http://", 7) == 0 || strncasecmp(proxy, "https://", 8) == 0, KMS_ERR_URL);
	CURLU *u = curl_url();
	ENSURE(u, KMS_ERR_MEMORY);
	CURLUcode code = curl_url_set(u, CURLUPART_URL, proxy, 0);
	curl_url_cleanup(u);
	return code == CURLUE_OK ? KMS_OK : KMS_ERR_URL;
}

/* Sets an option; returns from the calling function on failure. */
#define SET(option, value)                                                                     \
	do {                                                                                   \
		CURLcode code_ = curl_easy_setopt(fetch->easy, (option), (value));             \
		if (code_ != CURLE_OK)                                                         \
			return code_ == CURLE_OUT_OF_MEMORY ? KMS_ERR_MEMORY : KMS_ERR_SYSTEM; \
	} while (0)

static kms_status set_callbacks(kms_fetch *fetch)
{
	SET(CURLOPT_PRIVATE, fetch);
	SET(CURLOPT_ERRORBUFFER, fetch->detail);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, fetch);
	SET(CURLOPT_HEADERFUNCTION, fetch_on_header);
	SET(CURLOPT_HEADERDATA, fetch);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, fetch);
	return KMS_OK;
}

/* The same for every transfer: no signals, no environment, no redirects, verified TLS. */
static kms_status set_policy(kms_fetch *fetch, const kms_fetch_request *request)
{
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_QUICK_EXIT, 1L); /* do not wait for a name look-up that hangs */
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTP09_ALLOWED, 0L);
	SET(CURLOPT_PROXY, request->proxy ? request->proxy : "");
	SET(CURLOPT_NOPROXY, ""); /* or else no_proxy of the environment bypasses the proxy */
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (request->unix_socket) SET(CURLOPT_UNIX_SOCKET_PATH, request->unix_socket);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
	SET(CURLOPT_LOW_SPEED_LIMIT, request->stall_s ? 1L : 0L);
	SET(CURLOPT_LOW_SPEED_TIME, (long)request->stall_s);
	return KMS_OK;
}

/* CURLOPT_READFUNCTION. There is none to rewind, so libcurl cannot send what it has read again. */
static size_t on_upload(char *buffer, size_t size, size_t count, void *context)
{
	kms_fetch *fetch = context;
	size_t room = size * count, len = fetch->upload.len < room ? fetch->upload.len : room;
	if (len) memcpy(buffer, fetch->upload.text, len);
	fetch->upload = kms_text_of(fetch->upload.text + len, fetch->upload.len - len);
	return len;
}

static kms_status set_body(kms_fetch *fetch, kms_text body)
{
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	if (fetch->once) {
		fetch->upload = body;
		SET(CURLOPT_READFUNCTION, on_upload);
		SET(CURLOPT_READDATA, fetch);
		return KMS_OK;
	}
	SET(CURLOPT_POSTFIELDS, body.text);
	return KMS_OK;
}

/* For small responses, small reads cost less than wiping a large buffer each time. */
static kms_status set_buffer_size(kms_fetch *fetch, size_t max_bytes)
{
	SET(CURLOPT_BUFFERSIZE, max_bytes <= SMALL_RESPONSE ? SMALL_BUFFER : LARGE_BUFFER);
	return KMS_OK;
}

static kms_status set_message(kms_fetch *fetch, const kms_fetch_request *request)
{
	SET(CURLOPT_CURLU, fetch->url);
	if (strcmp(request->method, "HEAD") == 0) SET(CURLOPT_NOBODY, 1L);
	if (request->body.text) {
		SET(CURLOPT_POST, 1L);
		GUARD(set_body(fetch, request->body));
	}
	SET(CURLOPT_CUSTOMREQUEST, request->method);
	return KMS_OK;
}

kms_status fetch_transfer_init(kms_fetch *fetch, const kms_fetch_request *request)
{
	char *host = NULL;
	kms_status status = parse_url(&fetch->url, &host, request->url);
	if (status == KMS_OK && request->check_address && request->proxy)
		status = kms_address_check_host(host);
	if (status == KMS_OK && request->direct) status = fetch_direct_init(fetch, request, host);
	curl_free(host);
	GUARD(status);
	if (fetch->direct) return KMS_OK;
	if (request->proxy) GUARD(check_proxy(request->proxy));
	fetch->easy = curl_easy_init();
	ENSURE(fetch->easy, KMS_ERR_MEMORY);
	GUARD(set_callbacks(fetch));
	GUARD(set_policy(fetch, request));
	GUARD(set_buffer_size(fetch, request->max_bytes));
	return set_message(fetch, request);
}

kms_status fetch_transfer_reset(kms_fetch *fetch, kms_text body, size_t max_bytes)
{
	if (fetch->direct) {
		fetch->direct->body = body;
		fetch->direct->sent = false;
	} else {
		if (body.text) GUARD(set_body(fetch, body));
		GUARD(set_buffer_size(fetch, max_bytes));
	}
	kms_buf_free(&fetch->body);
	fetch->body.max = max_bytes;
	kms_buf_clear(&fetch->headers);
	fetch->header_bytes = 0;
	fetch->header_lines = 0;
	fetch->headers_done = false;
	fetch->refused = false;
	fetch->detail[0] = '\0';
	fetch->status = KMS_OK;
	fetch->state = FETCH_NEW;
	return KMS_OK;
}

kms_status fetch_transfer_prepare(kms_fetch *fetch)
{
	if (fetch->prepared) return KMS_OK;
	if (fetch->direct) {
		/* libcurl sends it as well, unless the caller names another one. */
		if (!fetch->has_accept) GUARD(fetch_append_line(fetch, "Accept: */*"));
		fetch->prepared = true;
		return KMS_OK;
	}
	GUARD(fetch_append_line(fetch, "Expect:"));
	if (fetch->has_body && !fetch->has_content_type) GUARD(fetch_append_line(fetch, "Content-Type:"));
	SET(CURLOPT_HTTPHEADER, fetch->sent);
	fetch->prepared = true;
	return KMS_OK;
}

/* ---- outcome ---------------------------------------------------------------------------------------- */

static kms_status status_of(const kms_fetch *fetch, CURLcode code)
{
	long tunnel = 0;
	switch (code) {
	case CURLE_OK:
		return KMS_OK;
	case CURLE_OUT_OF_MEMORY:
		return KMS_ERR_MEMORY;
	case CURLE_OPERATION_TIMEDOUT:
		return KMS_ERR_TIMEOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return KMS_ERR_RESOLVE;
	case CURLE_COULDNT_CONNECT:
		return fetch->refused ? KMS_ERR_ADDRESS_REFUSED : KMS_ERR_CONNECT;
	case CURLE_PROXY:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_SEND_FAIL_REWIND:
		return KMS_ERR_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return KMS_ERR_TLS;
	default:
		curl_easy_getinfo(fetch->easy, CURLINFO_HTTP_CONNECTCODE, &tunnel);
		return tunnel && tunnel / 100 != 2 ? KMS_ERR_CONNECT : KMS_ERR_HTTP;
	}
}

kms_status fetch_transfer_outcome(kms_fetch *fetch, CURLcode code)
{
	/* When a callback has refused, its status says why; libcurl only knows that it did. */
	if (fetch->status != KMS_OK) {
		fetch->detail[0] = '\0';
		return fetch->status;
	}
	kms_status status = status_of(fetch, code);
	if (status == KMS_ERR_ADDRESS_REFUSED) fetch->detail[0] = '\0';
	return status;
}
