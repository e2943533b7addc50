/* The Nitro Security Module: the device, and the requests that a node makes of it. */
#include "kms/nsm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/nsm_cbor.h"
#include "core/safe.h"
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

DEFINE_DEFER(guarded_release, uint8_t, kms_guarded_free)

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

/* {"Error": name or number} */
static kms_status refused(kms_nsm *nsm, kms_reader *reader)
{
	kms_cbor_item error;
	const char *name = "an error without a name";
	GUARD(kms_nsm_read(&error, reader));
	ENSURE(error.kind == KMS_CBOR_TEXT || error.kind == KMS_CBOR_UINT, KMS_ERR_NSM_ANSWER);
	ENSURE(kms_reader_end(reader) == KMS_OK, KMS_ERR_NSM_ANSWER);
	for (size_t i = 0; i < KMS_ARRAY_LEN(refusals); i++)
		if (error.kind == KMS_CBOR_UINT ? error.number == i : kms_nsm_is_text(&error, refusals[i]))
			name = refusals[i];
	pthread_mutex_lock(&nsm->lock);
	nsm->refusal = name;
	pthread_mutex_unlock(&nsm->lock);
	return KMS_ERR_NSM_REFUSED;
}

/* Reads {name: and leaves the reader at its value. */
static kms_status read_name(kms_reader *reader, kms_nsm *nsm, const char *name)
{
	kms_cbor_item map, key;
	GUARD(kms_nsm_read_kind(&map, reader, KMS_CBOR_MAP));
	ENSURE(map.number == 1, KMS_ERR_NSM_ANSWER);
	GUARD(kms_nsm_read_kind(&key, reader, KMS_CBOR_TEXT));
	if (kms_nsm_is_text(&key, "Error")) return refused(nsm, reader);
	return kms_nsm_is_text(&key, name) ? KMS_OK : KMS_ERR_NSM_ANSWER;
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
static kms_status read_bytes(kms_cbor_item *bytes, kms_reader *answer, const char *name)
{
	kms_cbor_item map, key;
	GUARD(kms_nsm_read_kind(&map, answer, KMS_CBOR_MAP));
	ENSURE(map.number == 1, KMS_ERR_NSM_ANSWER);
	GUARD(kms_nsm_read_kind(&key, answer, KMS_CBOR_TEXT));
	ENSURE(kms_nsm_is_text(&key, name), KMS_ERR_NSM_ANSWER);
	GUARD(kms_nsm_read_kind(bytes, answer, KMS_CBOR_BYTES));
	ENSURE(bytes->number > 0 && kms_reader_end(answer) == KMS_OK, KMS_ERR_NSM_ANSWER);
	return KMS_OK;
}

/* ---- random bytes ---- */

static kms_status draw(uint8_t *bytes, size_t len, uint8_t *response, kms_nsm *nsm)
{
	DEFER(kms_buf_free) kms_buf request = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_REQUEST_MAX);
	GUARD(kms_nsm_write_text(&request, "GetRandom"));
	/* An answer has one byte at least: `len` calls are enough. */
	for (size_t done = 0; done < len;) {
		kms_reader answer;
		kms_cbor_item random;
		GUARD(exchange(&answer, response, nsm, &request, "GetRandom"));
		GUARD(read_bytes(&random, &answer, "random"));
		size_t part = random.number < len - done ? (size_t)random.number : len - done;
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
	DEFER(guarded_release) uint8_t *response = kms_guarded_alloc(KMS_NSM_RESPONSE_MAX);
	ENSURE(response, KMS_ERR_LOCKED_MEMORY);
	kms_status status = draw(bytes, len, response, nsm);
	if (status != KMS_OK) kms_wipe(bytes, len);
	return status;
}

/* ---- attestation ---- */

static kms_status write_claims(kms_buf *request, const kms_nsm_claims *claims)
{
	GUARD(kms_nsm_write_head(request, KMS_CBOR_MAP, 1));
	GUARD(kms_nsm_write_text(request, "Attestation"));
	GUARD(kms_nsm_write_head(request, KMS_CBOR_MAP, 3));
	GUARD(kms_nsm_write_text(request, "user_data"));
	GUARD(kms_nsm_write_bytes(request, claims->user_data, claims->user_data_len));
	GUARD(kms_nsm_write_text(request, "nonce"));
	GUARD(kms_nsm_write_bytes(request, claims->nonce, claims->nonce_len));
	GUARD(kms_nsm_write_text(request, "public_key"));
	return kms_nsm_write_bytes(request, claims->public_key, claims->public_key_len);
}

kms_status kms_nsm_attest(kms_buf *document, kms_nsm *nsm, const kms_nsm_claims *claims)
{
	ENSURE_REF(document);
	ENSURE_REF(nsm);
	ENSURE_REF(claims);
	ENSURE(claims->user_data_len <= KMS_NSM_USER_DATA_MAX, KMS_ERR_RANGE);
	ENSURE(claims->nonce_len <= KMS_NSM_NONCE_MAX, KMS_ERR_RANGE);
	ENSURE(claims->public_key_len <= KMS_NSM_PUBLIC_KEY_MAX, KMS_ERR_RANGE);
	DEFER(kms_buf_free) kms_buf request = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_REQUEST_MAX);
	DEFER(guarded_release) uint8_t *response = kms_guarded_alloc(KMS_NSM_RESPONSE_MAX);
	ENSURE(response, KMS_ERR_LOCKED_MEMORY);
	kms_reader answer;
	kms_cbor_item made;
	GUARD(write_claims(&request, claims));
	GUARD(exchange(&answer, response, nsm, &request, "Attestation"));
	GUARD(read_bytes(&made, &answer, "document"));
	return kms_buf_append(document, made.bytes, (size_t)made.number);
}

/* ---- description ---- */

static kms_status read_number(unsigned *number, kms_reader *answer)
{
	kms_cbor_item item;
	GUARD(kms_nsm_read_kind(&item, answer, KMS_CBOR_UINT));
	ENSURE(item.number <= UINT16_MAX, KMS_ERR_NSM_ANSWER);
	*number = (unsigned)item.number;
	return KMS_OK;
}

static kms_status read_label(char text[KMS_NSM_TEXT_MAX + 1], kms_reader *answer)
{
	kms_cbor_item item;
	GUARD(kms_nsm_read_kind(&item, answer, KMS_CBOR_TEXT));
	ENSURE(item.number <= KMS_NSM_TEXT_MAX, KMS_ERR_NSM_ANSWER);
	/* It goes to logs: printable ASCII only. */
	for (size_t i = 0; i < item.number; i++)
		ENSURE(item.bytes[i] >= ' ' && item.bytes[i] <= '~', KMS_ERR_NSM_ANSWER);
	memcpy(text, item.bytes, (size_t)item.number);
	text[item.number] = '\0';
	return KMS_OK;
}

static kms_status read_list(unsigned *count, kms_reader *answer)
{
	kms_cbor_item list;
	unsigned index;
	GUARD(kms_nsm_read_kind(&list, answer, KMS_CBOR_ARRAY));
	for (uint64_t i = 0; i < list.number; i++)
		GUARD(read_number(&index, answer));
	*count = (unsigned)list.number;
	return KMS_OK;
}

static kms_status read_description(kms_nsm_description *d, kms_reader *answer)
{
	static const char *const names[] = { "version_major", "version_minor", "version_patch", "module_id",
					     "max_pcrs",      "locked_pcrs",   "digest" };
	kms_cbor_item map, key;
	unsigned seen = 0;
	GUARD(kms_nsm_read_kind(&map, answer, KMS_CBOR_MAP));
	ENSURE(map.number == KMS_ARRAY_LEN(names), KMS_ERR_NSM_ANSWER);
	for (uint64_t i = 0; i < map.number; i++) {
		size_t which = 0;
		GUARD(kms_nsm_read_kind(&key, answer, KMS_CBOR_TEXT));
		while (which < KMS_ARRAY_LEN(names) && !kms_nsm_is_text(&key, names[which]))
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
	DEFER(guarded_release) uint8_t *response = kms_guarded_alloc(KMS_NSM_RESPONSE_MAX);
	ENSURE(response, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_nsm_write_text(&request, "DescribeNSM"));
	GUARD(exchange(&answer, response, nsm, &request, "DescribeNSM"));
	GUARD(read_description(&made, &answer));
	*description = made;
	return KMS_OK;
}
