/* Walking a JSON text value by value (core/json_cursor.h). */
#include "codec/json_cursor.h"
#include "codec/json_internal.h"
#include "base/testing.h"
#include "base/ensure.h"
#include "test.h"

#define MAX_VALUES 100

/* A walk that enters every container it meets, down to `enter` of them, and reads the others. */
static kms_status walk(kms_json_cursor *c, unsigned enter);

static kms_status walk_inside(kms_json_cursor *c, char closing, unsigned enter)
{
	bool more;
	kms_json_value name;
	for (;;) {
		GUARD(kms_json_cursor_next(&more, c, closing));
		if (!more) return KMS_OK;
		if (closing == '}') GUARD(kms_json_cursor_name(&name, c));
		GUARD(walk(c, enter - 1));
	}
}

static kms_status walk(kms_json_cursor *c, unsigned enter)
{
	char opening = kms_json_cursor_peek(c);
	if (enter == 0 || (opening != '{' && opening != '[')) return kms_json_cursor_read(c, MAX_VALUES);
	GUARD(kms_json_cursor_enter(c, opening));
	return walk_inside(c, opening == '{' ? '}' : ']', enter);
}

static kms_status walk_text(const char *text, size_t len, unsigned enter)
{
	char *copy = malloc(len + 1); /* of exactly its size otherwise: a read past it is seen */
	if (!copy) abort();
	memcpy(copy, text, len);
	kms_json_cursor c = kms_json_cursor_make(copy, len);
	kms_status status = walk(&c, enter);
	if (status == KMS_OK) status = kms_json_cursor_end(&c);
	kms_json_cursor_free(&c);
	free(copy);
	return status;
}

TEST(values_are_read_in_order)
{
	char text[] = " { \"a\" : [ 1 , {\"x\":[2]} ] , \"\\u0062\":\"c\\n\", \"d\" :[ ] } ";
	kms_json_cursor c = kms_json_cursor_make(text, strlen(text));
	kms_json_value name;
	bool more;
	CHECK(kms_json_cursor_peek(&c) == '{');
	CHECK_OK(kms_json_cursor_enter(&c, '{'));
	CHECK_OK(kms_json_cursor_next(&more, &c, '}'));
	CHECK(more);
	CHECK_OK(kms_json_cursor_name(&name, &c));
	CHECK(name.len == 1 && name.text[0] == 'a' && kms_json_cursor_peek(&c) == '[');
	CHECK_OK(kms_json_cursor_enter(&c, '['));
	CHECK_OK(kms_json_cursor_next(&more, &c, ']'));
	CHECK_OK(kms_json_cursor_read(&c, 1));
	CHECK(c.json.values[0].number == 1 && c.json.count == 1);
	CHECK_OK(kms_json_cursor_next(&more, &c, ']'));
	CHECK_STATUS(KMS_ERR_JSON_SIZE, kms_json_cursor_read(&c, 3));
	CHECK_OK(kms_json_cursor_read(&c, 4));
	CHECK(c.json.values[0].type == KMS_JSON_OBJECT && c.json.count == 4);
	CHECK_OK(kms_json_cursor_next(&more, &c, ']'));
	CHECK(!more);
	CHECK_OK(kms_json_cursor_next(&more, &c, '}'));
	CHECK_OK(kms_json_cursor_name(&name, &c));
	CHECK_OK(kms_json_cursor_read(&c, 1));
	CHECK(name.text[0] == 'b' && c.json.values[0].len == 2 && c.json.values[0].text[1] == '\n');
	CHECK_OK(kms_json_cursor_next(&more, &c, '}'));
	CHECK_OK(kms_json_cursor_name(&name, &c));
	CHECK_STATUS(KMS_ERR_JSON, kms_json_cursor_enter(&c, '{'));
	CHECK_OK(kms_json_cursor_enter(&c, '['));
	CHECK_OK(kms_json_cursor_next(&more, &c, ']'));
	CHECK(!more);
	CHECK_STATUS(KMS_ERR_JSON, kms_json_cursor_end(&c));
	CHECK_OK(kms_json_cursor_next(&more, &c, '}'));
	CHECK(!more);
	CHECK_OK(kms_json_cursor_end(&c));
	kms_json_cursor_free(&c);
}

/* Whatever is entered and whatever is read at once: the same texts are JSON. */
TEST(is_as_strict_as_the_parser)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"1",
		"\"a\"",
		"[1,2]",
		"{\"a\":1}",
		"[[[]]]",
		"{\"a\":{\"b\":[]}}",
		"",
		" ",
		"[",
		"{",
		"]",
		"[1",
		"[1,",
		"[1,]",
		"[,1]",
		"[1 2]",
		"[1]]",
		"[1}",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{\"a\":1 \"b\":2}",
		"{a:1}",
		"{1:1}",
		"{\"a\":1]",
		"{\"a\" 1}",
		"{,}",
		"{} {}",
		"{}x",
		"[]\n",
		"tru",
		"truex",
		"[true]",
		"nul",
		"-",
		"[01]",
		"[1.]",
		"\"",
		"\"\x01\"",
		"\"\xff\"",
		"[\"\\ud800\"]",
		"{\"\\x\":1}",
		"{\"\xc0\xaf\":1}",
		"[1,,2]",
		"[:]",
		"{\"a\"::1}",
	};
	for (size_t i = 0; i < KMS_ARRAY_LEN(texts); i++) {
		kms_json json;
		char copy[64];
		size_t len = strlen(texts[i]);
		memcpy(copy, texts[i], len);
		bool good = kms_json_parse(&json, copy, len, MAX_VALUES) == KMS_OK;
		kms_json_free(&json);
		for (unsigned enter = 0; enter < 4; enter++) {
			bool walked = walk_text(texts[i], len, enter) == KMS_OK;
			if (walked != good) fprintf(stderr, "%s, %u entered\n", texts[i], enter);
			CHECK(walked == good);
		}
	}
	CHECK_STATUS(KMS_ERR_JSON, walk_text("[]\0", 3, 1));
	CHECK_STATUS(KMS_ERR_JSON, walk_text("\0[]", 3, 1));
}

TEST(depth_counts_what_was_entered)
{
	char text[64];
	for (unsigned depth = KMS_JSON_MAX_DEPTH; depth <= KMS_JSON_MAX_DEPTH + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		for (unsigned enter = 0; enter <= depth; enter++)
			CHECK_STATUS(depth <= KMS_JSON_MAX_DEPTH ? KMS_OK : KMS_ERR_JSON_DEPTH,
				     walk_text(text, (size_t)2 * depth, enter));
	}
	/* Containers side by side are no depth. */
	CHECK_OK(walk_text("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]", 58, 2));
}

TEST(a_failing_allocation_is_told)
{
	char text[] = "[[1,2,3]]";
	kms_json_cursor c = kms_json_cursor_make(text, strlen(text));
	kms_mem_fail_after(1);
	kms_status status = kms_json_cursor_read(&c, MAX_VALUES);
	kms_mem_fail_after(0);
	CHECK_STATUS(KMS_ERR_MEMORY, status);
	kms_json_cursor_free(&c);
}

TEST(misuse_is_refused)
{
	char text[] = "1";
	size_t used;
	kms_json json = { 0 };
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_json_parse_front(&used, NULL, text, 1, 1, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_json_parse_front(NULL, &json, text, 1, 1, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_json_parse_front(&used, &json, NULL, 0, 1, 0));
	CHECK_STATUS(KMS_ERR_JSON_SIZE, kms_json_parse_front(&used, &json, text, 1, 0, 0));
	CHECK_STATUS(KMS_ERR_JSON, kms_json_parse_front(&used, &json, text, 0, 1, 0));
	CHECK(used == 0 && json.count == 0);
	CHECK_OK(kms_json_parse_front(&used, &json, text, 1, 1, 0));
	CHECK(used == 1 && json.values[0].number == 1);
	kms_json_free(&json);
}

RUN_TESTS(0, T(values_are_read_in_order), T(is_as_strict_as_the_parser), T(depth_counts_what_was_entered),
	  T(a_failing_allocation_is_told), T(misuse_is_refused))
