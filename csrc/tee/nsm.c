/* The Nitro Security Module: the device and a node's requests to it (kms/nsm.h). */
#include "kms/nsm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "codec/cbor.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "kms/attest.h"
#include "kms/crypto.h"

#define DEVICE "/dev/nsm"
#define MAX_INTERRUPTIONS 1000 /* EINTR in a row; more means another fault */

/* struct nsm_raw of linux/nsm.h, which Debian 12 does not have. */
typedef struct nsm_span {
	uint64_t address;
	uint64_t len;
} nsm_span;

typedef struct nsm_message {
	nsm_span request;
	nsm_span response; /* len: the room, then the length of the response */
} nsm_message;

#define NSM_EXCHANGE _IOWR(0x0A, 0x0, nsm_message)

/* The module's errors by number. It sends the name; other encoders send the number. */
static const char *const refusals[] = {
	"Success",          "InvalidArgument", "InvalidIndex",  "InvalidResponse", "ReadOnlyIndex",
	"InvalidOperation", "BufferTooSmall",  "InputTooLarge", "InternalError",
};

struct kms_nsm {
	pthread_mutex_t lock; /* one exchange at a time; guards `refusal` */
	int device;
	const char *refusal; /* static text */
};

/* ---- the device ---- */

static kms_status failure_of(int error)
{
	switch (error) {
	case ENOENT:
	case ENXIO:
		return KMS_ERR_NSM_MISSING;
	case EACCES:
	case EPERM:
		return KMS_ERR_NSM_ACCESS;
	default:
		return KMS_ERR_NSM;
	}
}

kms_status kms_nsm_open(kms_nsm **nsm)
{
	ENSURE_REF(nsm);
	*nsm = NULL;
	int device = open(DEVICE, O_RDWR | O_CLOEXEC);
	ENSURE(device >= 0, failure_of(errno));
	kms_nsm *made = kms_heap_alloc(1, sizeof(*made));
	if (!made) (void)close(device);
	ENSURE(made, KMS_ERR_MEMORY);
	pthread_mutex_init(&made->lock, NULL);
	made->device = device;
	made->refusal = "";
	*nsm = made;
	return KMS_OK;
}

void kms_nsm_close(kms_nsm *nsm)
{
	if (!nsm) return;
	(void)close(nsm->device);
	pthread_mutex_destroy(&nsm->lock);
	kms_heap_free(nsm);
}

const char *kms_nsm_refusal(kms_nsm *nsm)
{
	if (!nsm) return "";
	pthread_mutex_lock(&nsm->lock);
	const char *refusal = nsm->refusal;
	pthread_mutex_unlock(&nsm->lock);
	return refusal;
}

static kms_status call_device(kms_nsm *nsm, nsm_message *message)
{
	for (int i = 0; i < MAX_INTERRUPTIONS; i++) {
		/* Set again each time: an interrupted call may have changed it. */
		message->response.len = KMS_NSM_RESPONSE_MAX;
		pthread_mutex_lock(&nsm->lock);
		int done = ioctl(nsm->device, NSM_EXCHANGE, message);
		int error = errno;
		pthread_mutex_unlock(&nsm->lock);
		if (done == 0) return KMS_OK;
		if (error != EINTR) return error == ENOENT ? KMS_ERR_NSM : failure_of(error);
	}
	return KMS_ERR_NSM;
}

/* ---- responses ---- */

/* Returns ERR_NSM_ANSWER for every kind of malformed item. */
#define GUARD_ITEM(call) ENSURE((call) == KMS_OK, KMS_ERR_NSM_ANSWER)

static bool is_text(kms_span span, const char *text)
{
	return span.len == strlen(text) && strncmp((const char *)span.bytes, text, span.len) == 0;
}

static const char *refusal_of(kms_span name, uint64_t number)
{
	for (size_t i = 0; i < KMS_ARRAY_LEN(refusals); i++)
		if (name.bytes ? is_text(name, refusals[i]) : number == i) return refusals[i];
	return "an error without a name";
}

/* Reads the value of {"Error": name or number}. */
static kms_status refused(kms_nsm *nsm, kms_reader *reader)
{
	kms_span name = { NULL, 0 };
	kms_reader number_reader = *reader;
	uint64_t number = 0;
	if (kms_cbor_uint(&number, &number_reader, 0, UINT64_MAX) == KMS_OK)
		*reader = number_reader;
	else
		GUARD_ITEM(kms_cbor_text(&name, reader, 1, KMS_NSM_TEXT_MAX));
	GUARD_ITEM(kms_reader_end(reader));
	pthread_mutex_lock(&nsm->lock);
	nsm->refusal = refusal_of(name, number);
	pthread_mutex_unlock(&nsm->lock);
	return KMS_ERR_NSM_REFUSED;
}

/* Reads {name: and leaves the reader at its value. */
static kms_status read_name(kms_reader *reader, kms_nsm *nsm, const char *name)
{
	size_t members;
	kms_span key;
	GUARD_ITEM(kms_cbor_map(&members, reader, 1, 1));
	GUARD_ITEM(kms_cbor_text(&key, reader, 1, KMS_NSM_TEXT_MAX));
	if (is_text(key, "Error")) return refused(nsm, reader);
	return is_text(key, name) ? KMS_OK : KMS_ERR_NSM_ANSWER;
}

/*
 * Sends a request and reads the response up to the value under `name`.
 * Out: value - within `memory`. memory - KMS_NSM_RESPONSE_MAX bytes of guarded memory.
 */
static kms_status exchange(kms_reader *value, uint8_t *memory, kms_nsm *nsm, const kms_buf *request,
			   const char *name)
{
	nsm_message message = {
		.request = { (uint64_t)(uintptr_t)request->data, request->len },
		.response = { (uint64_t)(uintptr_t)memory, KMS_NSM_RESPONSE_MAX },
	};
	GUARD(call_device(nsm, &message));
	ENSURE(message.response.len <= KMS_NSM_RESPONSE_MAX, KMS_ERR_NSM_ANSWER);
	*value = kms_reader_make(kms_span_of(memory, (size_t)message.response.len));
	return read_name(value, nsm, name);
}

/* Reads {name: byte string} to the end of the response. */
static kms_status read_bytes(kms_span *bytes, kms_reader *value, const char *name)
{
	size_t members;
	kms_span key;
	GUARD_ITEM(kms_cbor_map(&members, value, 1, 1));
	GUARD_ITEM(kms_cbor_text(&key, value, 1, KMS_NSM_TEXT_MAX));
	ENSURE(is_text(key, name), KMS_ERR_NSM_ANSWER);
	GUARD_ITEM(kms_cbor_bytes(bytes, value, 1, KMS_NSM_RESPONSE_MAX));
	GUARD_ITEM(kms_reader_end(value));
	return KMS_OK;
}

/* ---- random bytes ---- */

static kms_status draw(kms_out bytes, uint8_t *memory, kms_nsm *nsm)
{
	DEFER(kms_buf_free) kms_buf request = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_REQUEST_MAX);
	GUARD(kms_cbor_put_text(&request, "GetRandom"));
	/* Each response has at least one byte, so this ends. */
	for (size_t done = 0; done < bytes.len;) {
		kms_reader value;
		kms_span random;
		GUARD(exchange(&value, memory, nsm, &request, "GetRandom"));
		GUARD(read_bytes(&random, &value, "random"));
		size_t part = random.len < bytes.len - done ? random.len : bytes.len - done;
		memcpy(bytes.bytes + done, random.bytes, part);
		done += part;
	}
	return KMS_OK;
}

kms_status kms_nsm_random(kms_out bytes, kms_nsm *nsm)
{
	ENSURE_REF(bytes.bytes);
	ENSURE(bytes.len >= 1 && bytes.len <= KMS_NSM_RANDOM_MAX, KMS_ERR_RANGE);
	memset(bytes.bytes, 0, bytes.len);
	ENSURE_REF(nsm);
	DEFER(kms_guarded_release) uint8_t *memory = kms_guarded_alloc(KMS_NSM_RESPONSE_MAX);
	ENSURE(memory, KMS_ERR_LOCKED_MEMORY);
	kms_status status = draw(bytes, memory, nsm);
	if (status != KMS_OK) kms_wipe(bytes.bytes, bytes.len);
	return status;
}

/* ---- attestation ---- */

_Static_assert(KMS_NSM_USER_DATA_MAX == KMS_ATTEST_MAX_DATA && KMS_NSM_NONCE_MAX == KMS_ATTEST_MAX_DATA &&
		   KMS_NSM_PUBLIC_KEY_MAX == KMS_ATTEST_MAX_PUBLIC_KEY,
	       "what a document may say can be verified");
/* Around the claims: three heads of maps, four names and three heads of byte strings take less than 64 bytes.
 */
_Static_assert(KMS_NSM_USER_DATA_MAX + KMS_NSM_NONCE_MAX + KMS_NSM_PUBLIC_KEY_MAX + 64 <= KMS_NSM_REQUEST_MAX,
	       "the longest claims fit into a request");

static kms_status write_claims(kms_buf *request, const kms_nsm_claims *claims)
{
	GUARD(kms_cbor_put_head(request, KMS_CBOR_MAP, 1));
	GUARD(kms_cbor_put_text(request, "Attestation"));
	GUARD(kms_cbor_put_head(request, KMS_CBOR_MAP, 3));
	GUARD(kms_cbor_put_text(request, "user_data"));
	GUARD(kms_cbor_put_bytes(request, claims->user_data));
	GUARD(kms_cbor_put_text(request, "nonce"));
	GUARD(kms_cbor_put_bytes(request, claims->nonce));
	GUARD(kms_cbor_put_text(request, "public_key"));
	return kms_cbor_put_bytes(request, claims->public_key);
}

kms_status kms_nsm_attest(kms_buf *document, kms_nsm *nsm, const kms_nsm_claims *claims)
{
	ENSURE_REF(document);
	ENSURE_REF(nsm);
	ENSURE_REF(claims);
	ENSURE(claims->user_data.len <= KMS_NSM_USER_DATA_MAX, KMS_ERR_RANGE);
	ENSURE(claims->nonce.len <= KMS_NSM_NONCE_MAX, KMS_ERR_RANGE);
	ENSURE(claims->public_key.len <= KMS_NSM_PUBLIC_KEY_MAX, KMS_ERR_RANGE);
	DEFER(kms_buf_free) kms_buf request = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_REQUEST_MAX);
	DEFER(kms_guarded_release) uint8_t *memory = kms_guarded_alloc(KMS_NSM_RESPONSE_MAX);
	ENSURE(memory, KMS_ERR_LOCKED_MEMORY);
	kms_reader value;
	kms_span made;
	GUARD(write_claims(&request, claims));
	GUARD(exchange(&value, memory, nsm, &request, "Attestation"));
	GUARD(read_bytes(&made, &value, "document"));
	return kms_buf_append(document, made);
}

/* ---- description ---- */

static kms_status read_number(unsigned *number, kms_reader *value)
{
	uint64_t read;
	GUARD_ITEM(kms_cbor_uint(&read, value, 0, UINT16_MAX));
	*number = (unsigned)read;
	return KMS_OK;
}

static kms_status read_label(char text[KMS_NSM_TEXT_MAX + 1], kms_reader *value)
{
	kms_span read;
	GUARD_ITEM(kms_cbor_text(&read, value, 0, KMS_NSM_TEXT_MAX));
	/* Printable ASCII only, because logs show it. */
	for (size_t i = 0; i < read.len; i++)
		ENSURE(read.bytes[i] >= ' ' && read.bytes[i] <= '~', KMS_ERR_NSM_ANSWER);
	if (read.len) memcpy(text, read.bytes, read.len);
	text[read.len] = '\0';
	return KMS_OK;
}

static kms_status read_list(unsigned *count, kms_reader *value)
{
	size_t items;
	unsigned index;
	GUARD_ITEM(kms_cbor_array(&items, value, 0, UINT16_MAX));
	for (size_t i = 0; i < items; i++)
		GUARD(read_number(&index, value));
	*count = (unsigned)items;
	return KMS_OK;
}

static kms_status read_description(kms_nsm_description *d, kms_reader *value)
{
	static const char *const names[] = { "version_major", "version_minor", "version_patch", "module_id",
					     "max_pcrs",      "locked_pcrs",   "digest" };
	kms_span key;
	size_t members;
	unsigned seen = 0;
	GUARD_ITEM(kms_cbor_map(&members, value, KMS_ARRAY_LEN(names), KMS_ARRAY_LEN(names)));
	for (size_t i = 0; i < members; i++) {
		size_t which = 0;
		GUARD_ITEM(kms_cbor_text(&key, value, 1, KMS_NSM_TEXT_MAX));
		while (which < KMS_ARRAY_LEN(names) && !is_text(key, names[which]))
			which++;
		/* As many members as names, each known, none twice: hence all of them. */
		ENSURE(which < KMS_ARRAY_LEN(names) && !(seen >> which & 1), KMS_ERR_NSM_ANSWER);
		seen |= 1u << which;
		if (which <= 2)
			GUARD(read_number(&d->version[which], value));
		else if (which == 4)
			GUARD(read_number(&d->max_pcrs, value));
		else if (which == 5)
			GUARD(read_list(&d->locked_pcrs, value));
		else
			GUARD(read_label(which == 3 ? d->module_id : d->digest, value));
	}
	return kms_reader_end(value) == KMS_OK ? KMS_OK : KMS_ERR_NSM_ANSWER;
}

kms_status kms_nsm_describe(kms_nsm_description *description, kms_nsm *nsm)
{
	ENSURE_REF(description);
	*description = (kms_nsm_description){ 0 };
	ENSURE_REF(nsm);
	kms_nsm_description made = { 0 };
	kms_reader value;
	DEFER(kms_buf_free) kms_buf request = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_REQUEST_MAX);
	DEFER(kms_guarded_release) uint8_t *memory = kms_guarded_alloc(KMS_NSM_RESPONSE_MAX);
	ENSURE(memory, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_cbor_put_text(&request, "DescribeNSM"));
	GUARD(exchange(&value, memory, nsm, &request, "DescribeNSM"));
	GUARD(read_description(&made, &value));
	*description = made;
	return KMS_OK;
}
