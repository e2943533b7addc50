/*
 * main() of a fuzz target without libFuzzer: feeds it every seed, deterministic mutations of each, and the
 * files of its folder in spec/fuzz/corpus (inputs that once failed). Runs in the root of the checkout, as
 * spec/run does.
 */
#include <dirent.h>

#include "fuzz.h"

#define MUTATIONS 200 /* of each seed; FUZZ_RUNS= sets another number */

static unsigned fed;
static uint64_t state = 1;

/* xorshift64: the same mutations in every run. */
static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

/* In a block of the exact size, so that a sanitizer or valgrind sees an access beyond the end. */
static void feed(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);
	HOLDS(exact);
	if (len) memcpy(exact, bytes, len);
	HOLDS(LLVMFuzzerTestOneInput(exact, len) == 0);
	free(exact);
}

static unsigned long mutations(void)
{
	const char *text = getenv("FUZZ_RUNS");
	return text && *text ? strtoul(text, NULL, 10) : MUTATIONS;
}

static void feed_seed(kms_span input)
{
	static uint8_t mutant[FUZZ_MAX_INPUT];
	feed(input.bytes, input.len);
	fed++;
	for (unsigned long i = mutations(); i && input.len; i--) {
		memcpy(mutant, input.bytes, input.len);
		size_t len = draw(4) ? input.len : draw(input.len);
		for (uint64_t n = draw(4); n && len; n--)
			mutant[draw(len)] ^= (uint8_t)(draw(2) ? 1u << draw(8) : draw(256));
		feed(mutant, len);
	}
}

static void feed_file(const char *folder, const char *name)
{
	static uint8_t bytes[FUZZ_MAX_INPUT];
	char path[512];
	HOLDS((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) < sizeof(path));
	FILE *file = fopen(path, "rb");
	HOLDS(file);
	size_t len = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	feed(bytes, len);
	fed++;
}

int main(int argc, char **argv)
{
	char folder[256];
	const char *slash = strrchr(argv[0], '/');
	const char *target = slash ? slash + 1 : argv[0];
	fuzz_start();
	fuzz_each_seed(feed_seed);
	HOLDS(argc == 1 && fuzz_all_accepted());
	HOLDS((size_t)snprintf(folder, sizeof(folder), "spec/fuzz/corpus/%s", target) < sizeof(folder));
	DIR *files = opendir(folder);
	for (struct dirent *entry; files && (entry = readdir(files));)
		if (entry->d_name[0] != '.') feed_file(folder, entry->d_name);
	if (files) closedir(files);
	printf("%u passed, 0 failed\n", fed);
	return fed == 0;
}
