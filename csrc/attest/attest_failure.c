/* Names and sentences of the failures, all from one list (kms/attest.h). */
#include "kms/attest.h"

const char *kms_attest_failure_name(kms_attest_failure failure)
{
	switch (failure) {
#define FAILURE_NAME(name, text, sentence) \
	case KMS_ATTEST_##name:            \
		return text;
		KMS_ATTEST_FAILURE_LIST(FAILURE_NAME)
#undef FAILURE_NAME
	}
	return "unknown";
}

const char *kms_attest_failure_text(kms_attest_failure failure)
{
	switch (failure) {
#define FAILURE_TEXT(name, text, sentence) \
	case KMS_ATTEST_##name:            \
		return sentence;
		KMS_ATTEST_FAILURE_LIST(FAILURE_TEXT)
#undef FAILURE_TEXT
	}
	return "unknown";
}
