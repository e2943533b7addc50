/*
 * memscan PID: looks for secrets in the memory of a running process.
 *
 * Standard input has lines "name hex", one for each secret (16 to 4096 bytes; a name may have
 * spaces). The program searches every readable mapping for each secret: raw, in the byte orders
 * that libraries use for numbers and round keys, masked as an HMAC key, in hexadecimal, and in base64
 * at its three alignments. Output, separated by tabs:
 *
 *   hit  name  form  guarded|open  address  permissions  mapping
 *   scanned  bytes  mappings  unreadable bytes
 *
 * "guarded": the mapping's VmFlags in smaps have both `lo` (locked) and `dd` (not dumped).
 * Exit status: 0 after a scan, 1 for malformed input, 2 when the process cannot be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kms/codec.h"

#define MIN_SECRET 16
#define MAX_SECRET 4096
#define MAX_NAME 64
#define MAX_NEEDLES 8192
#define CHUNK ((size_t)1 << 20)
#define PAGE ((size_t)4096)
#define MAX_NEEDLE (2 * MAX_SECRET)
#define SHOWN_HITS 20

typedef struct needle {
	char name[MAX_NAME];
	const char *form;
	uint8_t *bytes;
	size_t len;
	int next; /* the next needle with the same first two bytes; -1: none */
	unsigned long hits[2];
} needle;

typedef struct mapping {
	unsigned long start, end;
	char perms[8];
	char path[256];
	bool guarded;
} mapping;

static needle needles[MAX_NEEDLES];
static int needle_count;
static int heads[65536];

static unsigned prefix(const uint8_t *bytes)
{
	return (unsigned)bytes[0] << 8 | bytes[1];
}

/* ---- needles ------------------------------------------------------------------------------------ */

static void add(const char *name, const char *form, const uint8_t *bytes, size_t len)
{
	if (needle_count == MAX_NEEDLES) {
		fprintf(stderr, "memscan: too many secrets\n");
		exit(1);
	}
	needle *n = &needles[needle_count];
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->form = form;
	n->len = len;
	n->bytes = malloc(len);
	if (!n->bytes) exit(1);
	memcpy(n->bytes, bytes, len);
	n->next = heads[prefix(bytes)];
	heads[prefix(bytes)] = needle_count++;
}

/* The bytes of each group of `size` reversed. */
static void add_swapped(const char *name, const char *form, const uint8_t *secret, size_t len, size_t size)
{
	uint8_t out[MAX_SECRET];
	size_t whole = len - len % size;
	for (size_t i = 0; i < whole; i++)
		out[i] = secret[i - i % size + (size - 1 - i % size)];
	add(name, form, out, whole);
}

/* Groups of 8 bytes in reverse order: the limbs of a number, most significant last. */
static void add_limbs(const char *name, const uint8_t *secret, size_t len)
{
	uint8_t out[MAX_SECRET];
	size_t whole = len - len % 8;
	for (size_t i = 0; i < whole; i++)
		out[i] = secret[whole - 8 - (i - i % 8) + i % 8];
	add(name, "limbs", out, whole);
}

static void add_masked(const char *name, const char *form, const uint8_t *secret, size_t len, uint8_t mask)
{
	uint8_t out[MAX_SECRET];
	for (size_t i = 0; i < len; i++)
		out[i] = secret[i] ^ mask;
	add(name, form, out, len);
}

static void add_hex(const char *name, const uint8_t *secret, size_t len)
{
	char text[2 * MAX_SECRET];
	kms_hex_encode(text, kms_span_of(secret, len));
	add(name, "hex", (uint8_t *)text, 2 * len);
	for (size_t i = 0; i < 2 * len; i++)
		if (text[i] >= 'a') text[i] = (char)(text[i] - 'a' + 'A');
	add(name, "HEX", (uint8_t *)text, 2 * len);
}

/* Base64 after `shift` unknown bytes: only the characters that depend on the secret alone. */
static void add_base64(const char *name, const char *form, const uint8_t *secret, size_t len, size_t shift)
{
	uint8_t bytes[MAX_SECRET + 2] = { 0 };
	char text[MAX_SECRET * 2];
	size_t skip = (shift * 8 + 5) / 6, full = (shift + len) * 8 / 6;
	memcpy(bytes + shift, secret, len);
	kms_base64_encode(text, kms_span_of(bytes, shift + len));
	add(name, form, (uint8_t *)text + skip, full - skip);
}

static void add_secret(const char *name, const uint8_t *secret, size_t len)
{
	uint8_t reversed[MAX_SECRET];
	for (size_t i = 0; i < len; i++)
		reversed[i] = secret[len - 1 - i];
	add(name, "raw", secret, len);
	add(name, "reversed", reversed, len);
	add_limbs(name, secret, len);
	add_swapped(name, "swapped8", secret, len, 8);
	add_swapped(name, "swapped4", secret, len, 4);
	add_masked(name, "ipad", secret, len, 0x36);
	add_masked(name, "opad", secret, len, 0x5c);
	add_hex(name, secret, len);
	add_base64(name, "base64+0", secret, len, 0);
	add_base64(name, "base64+1", secret, len, 1);
	add_base64(name, "base64+2", secret, len, 2);
}

static int read_secrets(void)
{
	char line[2 * MAX_SECRET + MAX_NAME + 8];
	uint8_t secret[MAX_SECRET];

	for (size_t i = 0; i < 65536; i++)
		heads[i] = -1;
	while (fgets(line, sizeof(line), stdin)) {
		char *hex = strrchr(line, ' ');
		size_t digits = hex ? strcspn(hex + 1, "\n") : 0;
		if (!hex || hex - line >= MAX_NAME || digits < 2 * MIN_SECRET || digits > 2 * MAX_SECRET)
			return -1;
		*hex = '\0';
		if (kms_hex_decode(kms_out_of(secret, digits / 2), kms_text_of(hex + 1, digits)) != KMS_OK)
			return -1;
		add_secret(line, secret, digits / 2);
	}
	return needle_count > 0 ? 0 : -1;
}

/* ---- search ------------------------------------------------------------------------------------- */

static void report(needle *n, const mapping *map, unsigned long address)
{
	if (n->hits[map->guarded]++ >= SHOWN_HITS) return;
	printf("hit\t%s\t%s\t%s\t%lx\t%s\t%s\n", n->name, n->form, map->guarded ? "guarded" : "open", address,
	       map->perms, map->path[0] ? map->path : "-");
}

/* Reports hits that begin in the first `fresh` bytes; the others complete them. */
static void search(const uint8_t *bytes, size_t fresh, size_t len, const mapping *map, unsigned long address)
{
	for (size_t i = 0; i < fresh && i + 1 < len; i++)
		for (int k = heads[prefix(bytes + i)]; k >= 0; k = needles[k].next)
			if (needles[k].len <= len - i &&
			    memcmp(bytes + i, needles[k].bytes, needles[k].len) == 0)
				report(&needles[k], map, address + i);
}

/* Reads [address, address + len); unreadable pages become zero. Returns the unreadable bytes. */
static size_t read_memory(int fd, uint8_t *bytes, unsigned long address, size_t len)
{
	size_t unread = 0;
	memset(bytes, 0, len);
	if (pread(fd, bytes, len, (off_t)address) == (ssize_t)len) return 0;
	for (size_t at = 0; at < len; at += PAGE) {
		size_t part = len - at < PAGE ? len - at : PAGE;
		if (pread(fd, bytes + at, part, (off_t)(address + at)) != (ssize_t)part) unread += part;
	}
	return unread;
}

static size_t scan_mapping(int fd, uint8_t *bytes, const mapping *map)
{
	size_t unread = 0;
	for (unsigned long at = map->start; at < map->end; at += CHUNK) {
		size_t left = map->end - at;
		size_t fresh = left < CHUNK ? left : CHUNK;
		size_t len = left < CHUNK + MAX_NEEDLE ? left : CHUNK + MAX_NEEDLE;
		size_t missing = read_memory(fd, bytes, at, len);
		search(bytes, fresh, len, map, at);
		unread += missing < fresh ? missing : fresh;
	}
	return unread;
}

static bool has_flag(const char *flags, const char *flag)
{
	char word[8];
	snprintf(word, sizeof(word), " %s ", flag);
	return strstr(flags, word) != NULL;
}

/* The next mapping of smaps; false at its end. */
static bool next_mapping(mapping *map, FILE *smaps)
{
	char line[512];
	bool open = false;
	while (fgets(line, sizeof(line), smaps)) {
		unsigned long start, end;
		char perms[8];
		int path = 0;
		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %n", &start, &end, perms, &path) >= 3) {
			*map = (mapping){ .start = start, .end = end };
			snprintf(map->perms, sizeof(map->perms), "%s", perms);
			line[strcspn(line, "\n")] = '\0';
			if (path > 0) snprintf(map->path, sizeof(map->path), "%.255s", line + path);
			open = true;
		} else if (open && strncmp(line, "VmFlags:", 8) == 0) {
			line[strcspn(line, "\n")] = ' ';
			map->guarded = has_flag(line, "lo") && has_flag(line, "dd");
			return true;
		}
	}
	return false;
}

static FILE *open_proc(const char *pid, const char *name, int *fd)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
	if (!fd) return fopen(path, "r");
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	return NULL;
}

int main(int argc, char **argv)
{
	static uint8_t bytes[CHUNK + MAX_NEEDLE];
	mapping map;
	size_t scanned = 0, unread = 0;
	unsigned mappings = 0;
	int fd = -1;

	if (argc != 2 || read_secrets() != 0) {
		fprintf(stderr, "usage: memscan PID, with lines of 'name hex' on standard input\n");
		return 1;
	}
	FILE *smaps = open_proc(argv[1], "smaps", NULL);
	open_proc(argv[1], "mem", &fd);
	if (!smaps || fd < 0) {
		fprintf(stderr, "memscan: cannot read process %s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	while (next_mapping(&map, smaps)) {
		if (map.perms[0] != 'r' || strncmp(map.path, "[v", 2) == 0) continue;
		mappings++;
		scanned += map.end - map.start;
		unread += scan_mapping(fd, bytes, &map);
	}
	printf("scanned\t%zu\t%u\t%zu\n", scanned, mappings, unread);
	fclose(smaps);
	close(fd);
	return 0;
}
