#include "kms/sigv4.h"

#include <string.h>

#include "base/ensure.h"
#include "kms/crypto.h"

#define MAC_BYTES 32

/* The next key of the chain: the MAC of a text under the one before it. */
static kms_status next_key(kms_secret **next, const kms_secret *key, kms_text text)
{
	*next = NULL;
	DEFER(kms_guarded_release) uint8_t *mac = kms_guarded_alloc(MAC_BYTES);
	ENSURE(mac, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_hmac_sha256(mac, key, kms_text_span(text)));
	return kms_secret_new(next, kms_span_of(mac, MAC_BYTES));
}

kms_status kms_sigv4(uint8_t signature32[32], const kms_secret *key, const kms_sigv4_scope *scope,
		     kms_text to_sign)
{
	ENSURE_REF(signature32);
	memset(signature32, 0, MAC_BYTES);
	ENSURE_REF(key);
	ENSURE_REF(scope);
	ENSURE_REF(to_sign.text);
	DEFER(kms_secret_release) kms_secret *of_date = NULL;
	DEFER(kms_secret_release) kms_secret *of_region = NULL;
	DEFER(kms_secret_release) kms_secret *of_service = NULL;
	DEFER(kms_secret_release) kms_secret *signing = NULL;
	GUARD(next_key(&of_date, key, scope->date));
	GUARD(next_key(&of_region, of_date, scope->region));
	GUARD(next_key(&of_service, of_region, scope->service));
	GUARD(next_key(&signing, of_service, KMS_TEXT("aws4_request")));
	return kms_hmac_sha256(signature32, signing, kms_text_span(to_sign));
}
