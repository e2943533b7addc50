/* The Nitro Security Module: the device, and the requests that a node makes of it. */
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
#include "kms/crypto.h"

#define DEVICE "/dev/nsm"
#define MAX_INTERRUPTIONS 1000 /* EINTR in a row: beyond it something else is wrong */
#define MAX_RANDOM 1024

/* struct nsm_raw of linux/nsm.h, which the headers of Debian 12 do not have yet. */
typedef struct nsm_span {
	uint64_t address;
	uint64_t len;
} nsm_span;

typedef struct nsm_message {
	nsm_span request;
	nsm_span response; /* len: room, and then what the answer took of it */
} nsm_message;

#define NSM_EXCHANGE _IOWR(0x0A, 0x0, nsm_message)

/* In the order of their numbers; the module sends the name, other encoders the number. */
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
		/* Also the room, which an interrupted call may have written over. */
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

/* ---- answers ---- */

/* Whatever is wrong with an item of an answer. */
#define GUARD_ANSWER(call) ENSURE((call) == KMS_OK, KMS_ERR_NSM_ANSWER)

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

/* {"Error": name or number} */
static kms_status refused(kms_nsm *nsm, kms_reader *reader)
{
	kms_span name = { NULL, 0 };
	kms_reader number_reader = *reader;
	uint64_t number = 0;
	if (kms_cbor_uint(&number, &number_reader, 0, UINT64_MAX) == KMS_OK)
		*reader = number_reader;
	else
		GUARD_ANSWER(kms_cbor_text(&name, reader, 1, KMS_NSM_TEXT_MAX));
	GUARD_ANSWER(kms_reader_end(reader));
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
	GUARD_ANSWER(kms_cbor_map(&members, reader, 1, 1));
	GUARD_ANSWER(kms_cbor_text(&key, reader, 1, KMS_NSM_TEXT_MAX));
	if (is_text(key, "Error")) return refused(nsm, reader);
	return is_text(key, name) ? KMS_OK : KMS_ERR_NSM_ANSWER;
}

/*
 * Sends a request. Out: answer - at the value under `name`, within `response`, which is guarded
 * memory of KMS_NSM_RESPONSE_MAX bytes of the caller.
 */
static kms_status exchange(kms_reader *answer, uint8_t *response, kms_nsm *nsm, const kms_buf *request,
			   const char *name)
{
	nsm_message message = {
		.request = { (uint64_t)(uintptr_t)request->data, request->len },
		.response = { (uint64_t)(uintptr_t)response, KMS_NSM_RESPONSE_MAX },
	};
	GUARD(call_device(nsm, &message));
	ENSURE(message.response.len <= KMS_NSM_RESPONSE_MAX, KMS_ERR_NSM_ANSWER);
	*answer = kms_reader_make(response, (size_t)message.response.len);
	return read_name(answer, nsm, name);
}

/* Reads {name: byte string} to the end of the answer. */
static kms_status read_bytes(kms_span *bytes, kms_reader *answer, const char *name)
{
	size_t members;
	kms_span key;
	GUARD_ANSWER(kms_cbor_map(&members, answer, 1, 1));
	GUARD_ANSWER(kms_cbor_text(&key, answer, 1, KMS_NSM_TEXT_MAX));
	ENSURE(is_text(key, name), KMS_ERR_NSM_ANSWER);
	GUARD_ANSWER(kms_cbor_bytes(bytes, answer, 1, KMS_NSM_RESPONSE_MAX));
	GUARD_ANSWER(kms_reader_end(answer));
	return KMS_OK;
}

/* ---- random bytes ---- */

static kms_status draw(uint8_t *bytes, size_t len, uint8_t *response, kms_nsm *nsm)
{
	DEFER(kms_buf_free) kms_buf request = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_REQUEST_MAX);
	GUARD(kms_cbor_put_text(&request, "GetRandom"));
	/* An answer has one byte at least: `len` calls are enough. */
	for (size_t done = 0; done < len;) {
		kms_reader answer;
		kms_span random;
		GUARD(exchange(&answer, response, nsm, &request, "GetRandom"));
		GUARD(read_bytes(&random, &answer, "random"));
		size_t part = random.len < len - done ? random.len : len - done;
		memcpy(bytes + done, random.bytes, part);
		done += part;
	}
	return KMS_OK;
}

kms_status kms_nsm_random(uint8_t *bytes, size_t len, kms_nsm *nsm)
{
	ENSURE_REF(bytes);
	ENSURE(len >= 1 && len <= MAX_RANDOM, KMS_ERR_RANGE);
	memset(bytes, 0, len);
	ENSURE_REF(nsm);
	DEFER(kms_guarded_release) uint8_t *response = kms_guarded_alloc(KMS_NSM_RESPONSE_MAX);
	ENSURE(response, KMS_ERR_LOCKED_MEMORY);
	kms_status status = draw(bytes, len, response, nsm);
	if (status != KMS_OK) kms_wipe(bytes, len);
	return status;
}

/* ---- attestation ---- */

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
	DEFER(kms_guarded_release) uint8_t *response = kms_guarded_alloc(KMS_NSM_RESPONSE_MAX);
	ENSURE(response, KMS_ERR_LOCKED_MEMORY);
	kms_reader answer;
	kms_span made;
	GUARD(write_claims(&request, claims));
	GUARD(exchange(&answer, response, nsm, &request, "Attestation"));
	GUARD(read_bytes(&made, &answer, "document"));
	return kms_buf_append(document, made.bytes, made.len);
}

/* ---- description ---- */

static kms_status read_number(unsigned *number, kms_reader *answer)
{
	uint64_t read;
	GUARD_ANSWER(kms_cbor_uint(&read, answer, 0, UINT16_MAX));
	*number = (unsigned)read;
	return KMS_OK;
}

static kms_status read_label(char text[KMS_NSM_TEXT_MAX + 1], kms_reader *answer)
{
	kms_span read;
	GUARD_ANSWER(kms_cbor_text(&read, answer, 0, KMS_NSM_TEXT_MAX));
	/* It goes to logs: printable ASCII only. */
	for (size_t i = 0; i < read.len; i++)
		ENSURE(read.bytes[i] >= ' ' && read.bytes[i] <= '~', KMS_ERR_NSM_ANSWER);
	if (read.len) memcpy(text, read.bytes, read.len);
	text[read.len] = '\0';
	return KMS_OK;
}

static kms_status read_list(unsigned *count, kms_reader *answer)
{
	size_t items;
	unsigned index;
	GUARD_ANSWER(kms_cbor_array(&items, answer, 0, UINT16_MAX));
	for (size_t i = 0; i < items; i++)
		GUARD(read_number(&index, answer));
	*count = (unsigned)items;
	return KMS_OK;
}

static kms_status read_description(kms_nsm_description *d, kms_reader *answer)
{
	static const char *const names[] = { "version_major", "version_minor", "version_patch", "module_id",
					     "max_pcrs",      "locked_pcrs",   "digest" };
	kms_span key;
	size_t members;
	unsigned seen = 0;
	GUARD_ANSWER(kms_cbor_map(&members, answer, KMS_ARRAY_LEN(names), KMS_ARRAY_LEN(names)));
	for (size_t i = 0; i < members; i++) {
		size_t which = 0;
		GUARD_ANSWER(kms_cbor_text(&key, answer, 1, KMS_NSM_TEXT_MAX));
		while (which < KMS_ARRAY_LEN(names) && !is_text(key, names[which]))
			which++;
		/* As many members as names, each known and none twice: then all are there. */
		ENSURE(which < KMS_ARRAY_LEN(names) && !(seen >> which & 1), KMS_ERR_NSM_ANSWER);
		seen |= 1u << which;
		if (which <= 2)
			GUARD(read_number(&d->version[which], answer));
		else if (which == 4)
			GUARD(read_number(&d->max_pcrs, answer));
		else if (which == 5)
			GUARD(read_list(&d->locked_pcrs, answer));
		else
			GUARD(read_label(which == 3 ? d->module_id : d->digest, answer));
	}
	return kms_reader_end(answer) == KMS_OK ? KMS_OK : KMS_ERR_NSM_ANSWER;
}

kms_status kms_nsm_describe(kms_nsm_description *description, kms_nsm *nsm)
{
	ENSURE_REF(description);
	*description = (kms_nsm_description){ 0 };
	ENSURE_REF(nsm);
	kms_nsm_description made = { 0 };
	kms_reader answer;
	DEFER(kms_buf_free) kms_buf request = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_REQUEST_MAX);
	DEFER(kms_guarded_release) uint8_t *response = kms_guarded_alloc(KMS_NSM_RESPONSE_MAX);
	ENSURE(response, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_cbor_put_text(&request, "DescribeNSM"));
	GUARD(exchange(&answer, response, nsm, &request, "DescribeNSM"));
	GUARD(read_description(&made, &answer));
	*description = made;
	return KMS_OK;
}
