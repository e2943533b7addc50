/* Status codes: names, texts, categories. */
#include "test.h"

TEST(every_status_has_its_name_text_and_category)
{
#define CHECK_ONE(name, number, text)                           \
	CHECK(strcmp(kms_status_name(KMS_##name), #name) == 0); \
	CHECK(strcmp(kms_status_text(KMS_##name), text) == 0);  \
	CHECK((unsigned)kms_status_category(KMS_##name) == (number) / 256u);
	KMS_STATUS_LIST(CHECK_ONE)
#undef CHECK_ONE
}

TEST(an_unknown_status_is_a_system_failure)
{
	kms_status unknown = (kms_status)0x7fff;
	CHECK(strcmp(kms_status_name(unknown), "ERR_UNKNOWN") == 0);
	CHECK(kms_status_text(unknown) != NULL);
	CHECK(kms_status_category(unknown) == KMS_CATEGORY_SYSTEM);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(every_status_has_its_name_text_and_category),
	  T(an_unknown_status_is_a_system_failure))
