/* Percent-encoding and query strings (RFC 3986). */
#include "net/http_internal.h"

#include <string.h>

#include "base/ensure.h"

kms_status kms_http_decode(uint8_t *bytes, size_t *len, kms_text text, bool plus_is_space)
{
	size_t n = 0;
	*len = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = (uint8_t)text.text[i];
		if (c == '+' && plus_is_space) c = ' ';
		if (c == '%') {
			ENSURE(text.len - i >= 3, KMS_ERR_HEX);
			int high = kms_http_hex_digit((uint8_t)text.text[i + 1]);
			int low = kms_http_hex_digit((uint8_t)text.text[i + 2]);
			ENSURE(high >= 0 && low >= 0, KMS_ERR_HEX);
			c = (uint8_t)(high * 16 + low);
			i += 2;
		}
		bytes[n++] = c;
	}
	*len = n;
	return KMS_OK;
}

bool kms_http_query_next(kms_text *value, kms_text *query, kms_text name)
{
	*value = (kms_text){ NULL, 0 };
	while (query->text) {
		const char *start = query->text;
		const char *amp = memchr(start, '&', query->len);
		size_t len = amp ? (size_t)(amp - start) : query->len;
		*query = amp ? (kms_text){ amp + 1, query->len - len - 1 } : (kms_text){ NULL, 0 };

		const char *equals = memchr(start, '=', len);
		size_t name_len = equals ? (size_t)(equals - start) : len;
		if (name_len != name.len || memcmp(start, name.text, name_len) != 0) continue;
		*value = equals ? (kms_text){ equals + 1, len - name_len - 1 } : (kms_text){ start + len, 0 };
		return true;
	}
	return false;
}
