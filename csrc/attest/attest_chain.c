/*
 * The certificate chain of a document: parsing, signatures, constraints, validity (RFC 5280
 * section 6.1, narrowed to what Nitro's chains use). OpenSSL parses certificates and verifies
 * signatures; its certificate store, lookups and verification policies are not used.
 */
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "attest/attest_internal.h"
#include "crypto/crypto.h"
#include "base/guarded.h"
#include "kms/p384.h"

#define VERSION_3 2 /* its encoding */

void kms_attest_chain_free(kms_attest_chain *chain)
{
	for (size_t i = 0; i < KMS_ATTEST_MAX_CHAIN; i++)
		X509_free(chain->certificates[i]);
	*chain = (kms_attest_chain){ 0 };
}

/* ---- one certificate --------------------------------------------------------------------------- */

/* Whether `der` is DER: encoded again, it gives the same bytes. OpenSSL accepts BER and trailing bytes. */
static bool is_der_of(const X509 *certificate, kms_span der)
{
	uint8_t again[KMS_ATTEST_MAX_CERTIFICATE];
	unsigned char *at = again;
	if (der.len > sizeof(again) || i2d_X509(certificate, NULL) != (int)der.len) return false;
	return i2d_X509(certificate, &at) == (int)der.len && memcmp(again, der.bytes, der.len) == 0;
}

X509 *kms_attest_certificate_parse(kms_span der)
{
	const unsigned char *at = der.bytes;
	DEFER(x509_release) X509 *certificate = d2i_X509(NULL, &at, (long)der.len);
	if (!certificate || !is_der_of(certificate, der)) return NULL;
	X509 *exact = certificate;
	certificate = NULL;
	return exact;
}

kms_status kms_attest_certificate_key(EVP_PKEY **key, kms_attest_failure *failure, kms_attest_failure name,
				      const X509 *certificate)
{
	uint8_t der[KMS_P384_DER], point[KMS_P384_POINT];
	unsigned char *at = der;
	const X509_PUBKEY *public = X509_get_X509_PUBKEY(certificate);
	*key = NULL;
	/* Compare the encoded key, not a curve name that the library derives from it. */
	if (i2d_X509_PUBKEY(public, NULL) != (int)sizeof(der) ||
	    i2d_X509_PUBKEY(public, &at) != (int)sizeof(der))
		return kms_attest_refusal(failure, name);
	kms_status status = kms_p384_point_parse(point, KMS_SPAN(der));
	ENSURE(status != KMS_ERR_LOCKED_MEMORY, status);
	if (status == KMS_OK) *key = X509_PUBKEY_get0(public);
	return *key ? KMS_OK : kms_attest_refusal(failure, name);
}

/* Only the two forms that RFC 5280 section 4.1.2.5 allows; OpenSSL accepts more. */
static bool read_time(int64_t *seconds, const ASN1_TIME *time)
{
	struct tm parts;
	size_t form =
	    ASN1_STRING_type(time) == V_ASN1_UTCTIME ? sizeof("YYMMDDHHMMSSZ") : sizeof("YYYYMMDDHHMMSSZ");
	*seconds = 0;
	if ((size_t)ASN1_STRING_length(time) != form - 1 || ASN1_TIME_to_tm(time, &parts) != 1) return false;
	*seconds = timegm(&parts);
	return true;
}

static void show_subject(char subject[128], const X509_NAME *name)
{
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const ASN1_STRING *text = at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	if (!text) return;
	size_t len = (size_t)ASN1_STRING_length(text);
	memcpy(subject, ASN1_STRING_get0_data(text), len < 128 ? len : 127);
}

bool kms_attest_certificate_show(kms_attest_certificate *shown, const X509 *certificate, kms_span der)
{
	memset(shown, 0, sizeof(*shown));
	shown->readable = read_time(&shown->not_before_s, X509_get0_notBefore(certificate)) &&
			  read_time(&shown->not_after_s, X509_get0_notAfter(certificate)) &&
			  kms_sha256(shown->sha256, der) == KMS_OK;
	if (shown->readable)
		show_subject(shown->subject, X509_get_subject_name(certificate));
	else
		memset(shown, 0, sizeof(*shown));
	return shown->readable;
}

/* ---- chains ------------------------------------------------------------------------------------ */

static bool is_ecdsa_sha384(const X509 *certificate)
{
	const ASN1_OBJECT *object;
	int parameters;
	X509_ALGOR_get0(&object, &parameters, NULL, X509_get0_tbs_sigalg(certificate));
	return OBJ_obj2nid(object) == NID_ecdsa_with_SHA384 && parameters == V_ASN1_UNDEF;
}

/* X509_verify checks that both signature algorithms of a certificate are the same. */
static kms_status check_issuer(kms_attest_failure *failure, X509 *certificate, const X509 *issuer)
{
	EVP_PKEY *key;
	GUARD(kms_attest_certificate_key(&key, failure, KMS_ATTEST_CHAIN, issuer));
	bool good = is_ecdsa_sha384(certificate) &&
		    X509_NAME_cmp(X509_get_issuer_name(certificate), X509_get_subject_name(issuer)) == 0 &&
		    X509_verify(certificate, key) == 1;
	return good ? KMS_OK : kms_attest_refusal(failure, KMS_ATTEST_CHAIN);
}

kms_status kms_attest_chain_load(kms_attest_chain *chain, kms_attest_failure *failure,
				 kms_attest_facts *facts)
{
	ENSURE_ATTEST(facts->chain_len <= KMS_ATTEST_MAX_CHAIN, KMS_ATTEST_CHAIN);
	for (size_t i = 0; i < facts->chain_len; i++) {
		X509 *certificate = kms_attest_certificate_parse(facts->der[i]);
		chain->certificates[i] = certificate;
		if (!certificate ||
		    !kms_attest_certificate_show(&facts->chain[i], certificate, facts->der[i]))
			return kms_attest_refusal(failure, KMS_ATTEST_CHAIN);
		if (i > 0) GUARD(check_issuer(failure, certificate, chain->certificates[i - 1]));
	}
	chain->count = facts->chain_len;
	return KMS_OK;
}

/*
 * Whether the only critical extensions are those checked here. EXFLAG_CRITICAL is not enough:
 * OpenSSL counts as supported also names, policies and purposes, which only its own verification
 * enforces.
 */
static bool is_enforced(const X509 *certificate)
{
	for (int i = 0; i < X509_get_ext_count(certificate); i++) {
		X509_EXTENSION *extension = X509_get_ext(certificate, i);
		int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
		if (X509_EXTENSION_get_critical(extension) && nid != NID_basic_constraints &&
		    nid != NID_key_usage)
			return false;
	}
	return true;
}

/* Whether every extension is well formed and every critical one is enforced. */
static bool is_understood(X509 *certificate)
{
	uint32_t flags = X509_get_extension_flags(certificate);
	return X509_get_version(certificate) == VERSION_3 && !(flags & (EXFLAG_INVALID | EXFLAG_CRITICAL)) &&
	       (flags & EXFLAG_KUSAGE) && is_enforced(certificate);
}

/* `below`: certificates between it and the leaf, self-issued ones included. */
static bool may_issue(X509 *certificate, size_t below)
{
	long limit = X509_get_pathlen(certificate);
	return is_understood(certificate) && (X509_get_extension_flags(certificate) & EXFLAG_CA) &&
	       (X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) && (limit < 0 || below <= (size_t)limit);
}

static bool may_sign(X509 *leaf)
{
	return is_understood(leaf) && !(X509_get_extension_flags(leaf) & EXFLAG_CA) &&
	       (X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE);
}

kms_status kms_attest_chain_constraints(kms_attest_failure *failure, const kms_attest_chain *chain)
{
	size_t last = chain->count - 1;
	for (size_t i = 0; i < last; i++)
		if (!may_issue(chain->certificates[i], last - 1 - i))
			return kms_attest_refusal(failure, KMS_ATTEST_CONSTRAINTS);
	return may_sign(chain->certificates[last]) ? KMS_OK
						   : kms_attest_refusal(failure, KMS_ATTEST_CONSTRAINTS);
}

/* Whether a certificate's validity begins later than `ahead_ms` from now. */
static bool is_ahead(const kms_attest_certificate *certificate, uint64_t now_ms, uint64_t ahead_ms)
{
	int64_t now_s = (int64_t)(now_ms / 1000), begin_s = certificate->not_before_s;
	if (begin_s <= now_s) return false;
	return (uint64_t)begin_s * 1000 - now_ms > ahead_ms;
}

/*
 * From the root on: the first certificate outside its validity decides the failure. The leaf is made with the
 * document, so that the same difference of clocks is allowed for both.
 */
kms_status kms_attest_chain_validity(kms_attest_failure *failure, const kms_attest_facts *facts,
				     uint64_t now_ms, uint64_t max_ahead_ms)
{
	int64_t now_s = (int64_t)(now_ms / 1000);
	for (size_t i = 0; i < facts->chain_len; i++) {
		uint64_t ahead_ms = i + 1 == facts->chain_len ? max_ahead_ms : 0;
		ENSURE_ATTEST(!is_ahead(&facts->chain[i], now_ms, ahead_ms), KMS_ATTEST_NOT_YET_VALID);
		ENSURE_ATTEST(now_s <= facts->chain[i].not_after_s, KMS_ATTEST_EXPIRED);
	}
	return KMS_OK;
}

kms_status kms_attest_refusal(kms_attest_failure *failure, kms_attest_failure name)
{
	ENSURE(kms_openssl_failure() != KMS_ERR_LOCKED_MEMORY, KMS_ERR_LOCKED_MEMORY);
	*failure = name;
	return KMS_ERR_ATTEST;
}
