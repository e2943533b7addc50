/*
 * Known answers of spec/vectors, for the tests named *_vectors. A missing file fails. KMS_VECTORS names
 * another folder of the same files, such as another implementation's.
 */
#ifndef KMS_SPEC_VECTORS_KIT_H
#define KMS_SPEC_VECTORS_KIT_H

#include <sys/stat.h>

#include "kms/json.h"
#include "kms/p384.h"
#include "kms/wallet.h"
#include "material.h"

/* A parsed file: an array of cases. */
typedef struct vectors {
	char *text;
	kms_json json;
	const kms_json_value *item; /* the case looked at */
} vectors;

static inline const char *folder(void)
{
	const char *set = getenv("KMS_VECTORS");
	return set ? set : "spec/vectors";
}

static inline void vectors_open(vectors *v, const char *name)
{
	char path[1024];
	*v = (vectors){ 0 };
	snprintf(path, sizeof(path), "%s/%s.json", folder(), name);
	FILE *f = fopen(path, "rb");
	struct stat st;
	if (!f || fstat(fileno(f), &st) != 0) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(2);
	}
	size_t len = (size_t)st.st_size;
	v->text = malloc(len + 1);
	if (!v->text || fread(v->text, 1, len, f) != len) exit(2);
	fclose(f);
	MUST(kms_json_parse(&v->json, v->text, len, 1000000));
	v->item = kms_json_first(&v->json, v->json.values);
	if (!v->item) exit(2);
}

static inline void vectors_close(vectors *v)
{
	kms_json_free(&v->json);
	free(v->text);
}

/* Whether there is another case; it is then the one looked at. */
static inline bool vectors_next(vectors *v)
{
	v->item = kms_json_next(&v->json, v->item);
	return v->item;
}

static inline const kms_json_value *member(const vectors *v, const kms_json_value *object, const char *name)
{
	const kms_json_value *value = kms_json_get(&v->json, object, name);
	if (value) return value;
	fprintf(stderr, "no member %s\n", name);
	exit(2);
}

/* A string member of the case. */
static inline const kms_json_value *text(const vectors *v, const char *name)
{
	return member(v, v->item, name);
}

static inline uint64_t number(const vectors *v, const char *name)
{
	uint64_t value;
	const kms_json_value *digits = text(v, name);
	MUST(kms_decimal_parse(&value, kms_json_text(digits)));
	return value;
}

/* Bytes of a hexadecimal string, owned by the caller. */
static inline uint8_t *bytes_of(size_t *len, const kms_json_value *hex)
{
	kms_text digits = kms_hex_strip(kms_json_text(hex));
	*len = digits.len / 2;
	uint8_t *bytes = malloc(*len ? *len : 1);
	if (!bytes) exit(2);
	MUST(kms_hex_decode(kms_out_of(bytes, *len), digits));
	return bytes;
}

static inline void fixed(uint8_t *bytes, size_t len, const kms_json_value *hex)
{
	MUST(kms_hex_decode(kms_out_of(bytes, len), kms_json_text(hex)));
}

static inline kms_secret *secret(const kms_json_value *hex)
{
	kms_secret *made;
	MUST(kms_secret_from_hex(&made, kms_json_text(hex), hex->len / 2));
	return made;
}

static inline kms_p384 *p384(const kms_json_value *hex)
{
	kms_p384 *made;
	kms_secret *scalar = secret(hex);
	MUST(kms_p384_new(&made, scalar));
	kms_secret_unref(scalar);
	return made;
}

static inline kms_wallet *wallet(const kms_json_value *hex)
{
	kms_wallet *made;
	kms_secret *key = secret(hex);
	MUST(kms_wallet_new(&made, key));
	kms_secret_unref(key);
	return made;
}

static inline bool bytes_are(const uint8_t *bytes, size_t len, const kms_json_value *hex)
{
	size_t want_len;
	uint8_t *want = bytes_of(&want_len, hex);
	bool same = len == want_len && (!len || memcmp(bytes, want, len) == 0);
	free(want);
	return same;
}

static inline bool text_is(const char *chars, size_t len, const kms_json_value *want)
{
	return len == want->len && (!len || memcmp(chars, want->text, len) == 0);
}

/* Runs a check on every case of a file. */
static inline void each(int *failed_, const char *name, void (*check)(int *failed_, const vectors *v))
{
	vectors v;
	int count = 0;
	vectors_open(&v, name);
	do {
		count++;
		check(failed_, &v);
		if (*failed_) fprintf(stderr, "%s.json, case %d\n", name, count);
	} while (!*failed_ && vectors_next(&v));
	vectors_close(&v);
}

#endif
