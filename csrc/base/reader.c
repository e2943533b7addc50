/* The cursor that every decoder reads through (kms/view.h). */
#include "base/ensure.h"
#include "kms/view.h"

kms_status kms_reader_take(const uint8_t **bytes, kms_reader *reader, size_t len)
{
	ENSURE_REF(bytes);
	*bytes = NULL;
	ENSURE_REF(reader);
	ENSURE(len <= kms_reader_left(reader), KMS_ERR_TRUNCATED);
	*bytes = reader->at;
	if (len) reader->at += len;
	return KMS_OK;
}

kms_status kms_reader_u8(uint8_t *byte, kms_reader *reader)
{
	const uint8_t *at;
	ENSURE_REF(byte);
	*byte = 0;
	GUARD(kms_reader_take(&at, reader, 1));
	*byte = *at;
	return KMS_OK;
}

kms_status kms_reader_end(const kms_reader *reader)
{
	ENSURE_REF(reader);
	ENSURE(kms_reader_left(reader) == 0, KMS_ERR_TRAILING);
	return KMS_OK;
}
