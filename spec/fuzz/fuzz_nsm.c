/* Responses of the Nitro Security Module: the linker sends open() and ioctl() of the core here (Makefile). */
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "kms/nsm.h"
#include "lib/fuzz.h"

int __wrap_open(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long number, ...);
int __real_open(const char *path, int flags, ...);

static kms_span answer;

int __wrap_open(const char *path, int flags, ...)
{
	return __real_open(strcmp(path, "/dev/nsm") == 0 ? "/dev/null" : path, flags & ~O_CREAT);
}

/* struct nsm_raw of linux/nsm.h. */
int __wrap_ioctl(int fd, unsigned long number, ...)
{
	va_list arguments;
	va_start(arguments, number);
	uint64_t *message = va_arg(arguments, uint64_t *);
	va_end(arguments);
	(void)fd;
	HOLDS(message[3] == KMS_NSM_RESPONSE_MAX && answer.len <= message[3]);
	if (answer.len) memcpy((void *)(uintptr_t)message[2], answer.bytes, answer.len);
	message[3] = answer.len;
	return 0;
}

enum { RANDOM, ATTEST, DESCRIBE, KINDS };

const unsigned fuzz_kinds = KINDS;

static kms_status ask(kms_nsm *nsm, unsigned kind)
{
	uint8_t bytes[64];
	kms_nsm_description description;
	kms_buf document = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_RESPONSE_MAX);
	kms_nsm_claims claims = { KMS_NO_BYTES, KMS_BYTES("nonce"), KMS_NO_BYTES };
	kms_status status;
	switch (kind) {
	case RANDOM:
		return kms_nsm_random(KMS_OUT(bytes), nsm);
	case ATTEST:
		status = kms_nsm_attest(&document, nsm, &claims);
		HOLDS((status == KMS_OK) == (document.len > 0));
		kms_buf_free(&document);
		return status;
	default:
		status = kms_nsm_describe(&description, nsm);
		HOLDS(strlen(description.module_id) <= KMS_NSM_TEXT_MAX);
		HOLDS(status == KMS_OK || (!description.module_id[0] && !description.max_pcrs));
		return status;
	}
}

/* The first byte is the request that the rest responds to. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static kms_nsm *nsm;
	fuzz_start();
	if (!nsm) HOLDS_OK(kms_nsm_open(&nsm));
	if (size < 1 || size > KMS_NSM_RESPONSE_MAX) return 0;
	answer = kms_span_of(data + 1, size - 1);
	kms_status status = ask(nsm, data[0] % KINDS);
	HOLDS(status == KMS_OK || status == KMS_ERR_NSM_ANSWER || status == KMS_ERR_NSM_REFUSED);
	if (status == KMS_OK) fuzz_accept(data[0] % KINDS);
	if (status == KMS_ERR_NSM_REFUSED) HOLDS(kms_nsm_refusal(nsm)[0]);
	return 0;
}

void fuzz_seeds(void)
{
	fuzz_seed_choice(RANDOM, KMS_BYTES("\xa1\x69GetRandom\xa1\x66random\x48"
					   "12345678"));
	fuzz_seed_choice(ATTEST, KMS_BYTES("\xa1\x6b"
					   "Attestation\xa1\x68"
					   "document\x44\xd2\x84\x40\xa0"));
	fuzz_seed_choice(DESCRIBE, KMS_BYTES("\xa1\x6b"
					     "DescribeNSM\xa7\x6dversion_major\x01\x6dversion_minor\x00"
					     "\x6dversion_patch\x00\x69module_id\x63i-0\x68max_pcrs\x18\x20"
					     "\x6blocked_pcrs\x83\x00\x01\x02\x66"
					     "digest\x66SHA384"));
	fuzz_seed_choice(RANDOM, KMS_BYTES("\xa1\x65"
					   "Error\x6dInternalError"));
	fuzz_seed_choice(RANDOM, KMS_BYTES("\xa1\x65"
					   "Error\x08"));
	fuzz_seed_choice(ATTEST, KMS_BYTES(""));
}
