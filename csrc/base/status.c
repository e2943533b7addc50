/* Names, texts and categories of the status codes, all from one list (kms/kms.h). */
#include "kms/kms.h"

const char *kms_status_name(kms_status status)
{
	switch (status) {
#define STATUS_NAME(name, number, text) \
	case KMS_##name:                \
		return #name;
		KMS_STATUS_LIST(STATUS_NAME)
#undef STATUS_NAME
	}
	return "ERR_UNKNOWN";
}

const char *kms_status_text(kms_status status)
{
	switch (status) {
#define STATUS_TEXT(name, number, text) \
	case KMS_##name:                \
		return text;
		KMS_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
	}
	return "unknown error";
}

kms_category kms_status_category(kms_status status)
{
	switch (status) {
#define STATUS_CATEGORY(name, number, text) \
	case KMS_##name:                    \
		return (kms_category)((number) >> 8);
		KMS_STATUS_LIST(STATUS_CATEGORY)
#undef STATUS_CATEGORY
	}
	/* An unknown number is a failure of our own, not of any input. */
	return KMS_CATEGORY_SYSTEM;
}
